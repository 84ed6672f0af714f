// A lane of C targets, one after the other, with a pager that is killed at random moments.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { appendFile, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Explained } from '../../src/pager/explainer.ts'
import { PAGE, type Stuff, stuck, Target } from '../safety/lab.ts'
import { leastOf, materials } from '../safety/materials.ts'
import type { Order } from './host.ts'
import { Host, Killed } from './host-client.ts'
import { type Random, randomOf, sleep, type Stress } from './shared.ts'
import { removeFolder } from '../../src/sys/folder.ts'

/** Milliseconds after which a pager is not killed before the target has answered. */
const patience = 8000
const MADV_DONTNEED = 4

/** One C target after the other. */
export class Lane {
  readonly name: string
  readonly #s: Stress
  readonly #random: Random
  readonly #deaths: Random
  #target!: Target
  readonly #host: Host
  /** When the target was last asked something. */
  #asked = 0
  #directory = ''
  #starting: Promise<void> | undefined
  #ended = false
  #life = 0
  #forks = 0
  /** Whether the block is one mapping still, so that mremap can take it as a whole. */
  #whole = true
  #backed = true
  #history: string[] = []
  #stuff!: Stuff
  #bytes = 0

  constructor(stress: Stress, index: number) {
    this.name = `c${index}`
    this.#s = stress
    this.#host = new Host(stress.lab)
    this.#random = randomOf(stress.options.seed * 1000 + index)
    this.#deaths = randomOf(stress.options.seed * 7919 + index)
  }

  async #fresh(): Promise<void> {
    const r = this.#random
    const { lab, options } = this.#s
    // Recipes want more memory than the lanes have room for: only where they are asked for.
    const least = options.material === 'recipe' ? leastOf('recipe') : 0
    const bytes = least + (60 + r(300)) * PAGE + r(PAGE)
    const small = materials.filter(name => name !== 'recipe')
    const drawn = r(2) === 0 ? 'verbatim' : (small[r(small.length)] ?? 'verbatim')
    this.#stuff = lab.material(options.material ?? drawn, bytes, r(2 ** 30))
    this.#target = await Target.of(lab, this.#stuff, (['mmap', 'mmap', 'malloc', 'brk'] as const)[r(4)])
    this.#bytes = bytes
    this.#directory = join(this.#s.lab.directory, `p${this.#target.pid()}`)
    this.#life = 8 + r(24)
    this.#forks = 0
    this.#whole = this.#target.from === 0
    this.#backed = true
    this.#history = [`target ${this.#target.pid()} of ${this.#stuff.source}`]
  }

  #note(what: string): void {
    this.#history.push(`${(performance.now() / 1000).toFixed(2)} ${what}`)
    if (this.#history.length > 60) this.#history.shift()
  }

  /** Kills the pager of this lane now and then, at any moment, and starts the next one. */
  async #reap(random: Random): Promise<void> {
    // Now and then at once, so that it dies while it takes over; else when it has served for a while.
    let quick = 0
    while (!this.#ended) {
      quick = random(3) === 0 && quick < 2 ? quick + 1 : 0
      await sleep(quick > 0 ? random(400) : 600 + random(2500))
      if (this.#starting !== undefined && random(3) > 0) continue
      // A question that has waited so long is one for a pager that lives: else a busy machine looks like a hang.
      if (performance.now() - this.#asked > patience && this.#host.alive) continue
      if (!this.#host.alive) {
        // As a supervisor would.
        if (existsSync(join(this.#directory, 'journal'))) await this.#start()
        continue
      }
      this.#note('kill -9')
      await this.#host.kill()
      this.#s.result.kills++
      if (random(3) === 0) await sleep(random(40))
      await this.#start()
    }
  }

  /** Starts a pager for the target, which attaches or takes over. */
  #start(): Promise<void> {
    this.#starting ??= (async () => {
      const target = this.#target
      try {
        const report = await this.#host.start(
          target.pid(),
          this.#directory,
          this.#random(4) === 0 ? 16 * PAGE : undefined,
        )
        this.#note(report.error ?? (report.adopted ? 'adopted' : 'attached'))
        if (report.error !== undefined && report.code !== 'gone') this.#s.odd(`start: ${report.error}`)
        else if (report.adopted) this.#s.result.adoptions++
        else this.#s.result.attaches++
      } catch (error) {
        if (!(error instanceof Killed)) throw error
        this.#note(`start: ${error.message}`)
      }
    })().finally(() => {
      this.#starting = undefined
    })
    return this.#starting
  }

  // A pager that is killed meanwhile is no error: the next one takes over.
  async #pager(order: Order): Promise<void> {
    try {
      this.#note(order.op)
      const report = await this.#host.call(order)
      this.#note(`${order.op}: ${report.error ?? 'done'}`)
      if (report.error !== undefined) {
        if (report.code !== 'busy') this.#s.odd(`${order.op}: ${report.error}`)
      } else if (order.op === 'detach') this.#s.result.detaches++
      this.#s.result.droppedPages += report.dropped ?? 0
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      this.#note(`${order.op}: killed`)
    }
  }

  /** What an explainer would find: where the file's bytes are, if they still are there. Wrong guesses do no harm. */
  #explained(): Explained {
    const t = this.#target
    const first = t.shift === 0 ? 0 : 1
    const { source, lens } = this.#stuff
    const there = lens === undefined ? readable(source) : existsSync(source) ? this.#bytes : 0
    const pages = Math.floor((there + t.shift) / PAGE) - first
    const guess = { start: t.base + first * PAGE, pages, backing: 0, offset: first * PAGE - t.shift }
    return {
      backings: [
        { index: 0, path: source, openPath: source, how: 'told', ...(lens === undefined ? {} : { lens }) },
      ],
      guesses: pages > 0 ? [guess] : [],
      zero: [],
      cpu: 0,
    }
  }

  async run(): Promise<void> {
    let round = 0
    let reaping: Promise<void> | undefined
    while (!this.#s.over) {
      try {
        if (this.#life-- <= 0 || round === 0) {
          if (round > 0) await this.#finish()
          await this.#fresh()
          reaping ??= this.#reap(this.#deaths)
        }
        round++
        const began = performance.now()
        await this.#round()
        const took = performance.now() - began
        // Not wrong, but worth a look.
        if (took > 5000) this.#s.slow(this.name, took, this.#history)
        this.#s.done(this.name)
      } catch (error) {
        // What the pager has to say about it comes in a moment.
        await sleep(300)
        this.#s.differs({
          lane: this.name,
          round,
          what: `${(error as Error).message}\n${stuck(this.#target.pid())}\npager ${this.#host.pid}: ${stuck(this.#host.pid)}\n${this.#host.errors.slice(-2500)}`,
          history: [...this.#history],
        })
        this.#life = 0
      }
    }
    this.#ended = true
    await this.#finish()
    await reaping
    await this.#host.kill()
  }

  async #finish(): Promise<void> {
    if (this.#target === undefined) return
    this.#target.process.kill('SIGKILL')
    await this.#target.ended()
    await this.#starting
    await this.#host.kill()
    removeFolder(this.#directory)
    rmSync(this.#stuff.source, { force: true })
  }

  async #round(): Promise<void> {
    const r = this.#random
    if (!this.#host.alive && r(5) > 0) await this.#start()
    const work: Promise<void>[] = []
    if (this.#backed && r(3) > 0) work.push(this.#pager({ op: 'make', explained: this.#explained() }))
    if (r(2) === 0) await Promise.all(work.splice(0))
    for (let i = 1 + r(5); i > 0; i--) {
      this.#s.result.operations++
      await this.#operation()
      if (r(6) === 0) work.push(this.#pager({ op: 'drop' }))
    }
    this.#asked = performance.now()
    await this.#target.check()
    await Promise.all(work)
    if (r(8) === 0) {
      await this.#pager({ op: 'detach' })
      await this.#target.check()
    }
  }

  async #expect(command: string, answer: number | string): Promise<void> {
    const got = await this.#target.ask(command)
    if (got !== String(answer)) throw new Error(`'${command}' said ${got}, it must be ${answer}`)
  }

  async #operation(): Promise<void> {
    const t = this.#target
    const r = this.#random
    const pages = Math.floor(t.length / PAGE)
    const at = Math.max(t.from, r(t.length - 1))
    const some = 1 + r(Math.min(20 * PAGE, t.length - at))
    const page = 1 + r(pages - 2)
    const few = Math.min(1 + r(24), pages - 1 - page)
    const mapped = t.from === 0
    const { kinds } = this.#s.options
    const kind = kinds?.[r(kinds.length)] ?? r(22)
    this.#asked = performance.now()
    this.#note(`${kind}: at ${at} ${some}, page ${page} ${few}`)
    switch (kind) {
      case 0:
      case 1:
      case 2:
        return await t.fill(at, some, r(256))
      case 3: {
        const to = Math.max(t.from, r(t.length - some))
        t.tell(`move ${to} ${at} ${some}`)
        t.memory.copyWithin(to, at, at + some)
        if ((await t.answer('move')) !== '0') throw new Error('move')
        return
      }
      case 4:
      case 5:
        if (few > 0 && mapped) {
          t.memory.fill(0, page * PAGE, (page + few) * PAGE)
          await this.#expect(`advise ${page * PAGE} ${few * PAGE} ${MADV_DONTNEED}`, 0)
        }
        return
      case 6:
        if (few > 0 && this.#whole) {
          this.#whole = false
          t.memory.fill(0, page * PAGE, (page + few) * PAGE)
          if (r(2) === 0) await this.#expect(`unmap ${page * PAGE} ${few * PAGE}`, 0)
          await this.#expect(`map ${page * PAGE} ${few * PAGE}`, 0)
        }
        return
      case 7:
        return await this.#mremap(r(3), PAGE * (1 + r(40)))
      case 8:
      case 9: {
        const child = this.#forks++ < 6 ? await t.fork(t, this.#forks - 1) : undefined
        if (child === undefined) return
        if (r(2) === 0) await t.fill(at, some, r(256)).then(() => undefined)
        else await t.check(child)
        child.tell('exit 0')
        return await this.#expect(`wait ${child.pid()}`, 0)
      }
      case 10:
      case 11: {
        const n = Math.min(some, 8 * PAGE)
        return await this.#expect(`forks ${1 + r(4)} ${t.predicted(at, n)} ${at} ${n}`, 0)
      }
      case 12:
        return await this.#expect(`vfork ${at} ${some}`, `7 ${t.predicted(at, some)}`)
      case 13:
        await this.#expect(`protect ${page * PAGE} ${few * PAGE} 1`, 0)
        await this.#expect(`sum ${at} ${some}`, t.predicted(at, some))
        return await this.#expect(`protect ${page * PAGE} ${few * PAGE} 3`, 0)
      case 14:
        return await this.#expect(`same 3 ${at} ${some}`, `0 ${t.predicted(at, some)}`)
      case 15: {
        const out = this.#s.lab.path('out')
        await this.#expect(`writefile ${out} ${at} ${some} 0 0`, some)
        const same = readFileSync(out).equals(t.memory.subarray(at, at + some))
        rmSync(out)
        if (!same) throw new Error(`write(2) of ${some} bytes at ${at} wrote others`)
        return
      }
      case 16:
        return await this.#file(r(5))
      case 17: {
        // Threads write for some milliseconds; then their word on it counts, and the model takes the bytes over.
        if (!this.#whole || this.#life > 0) return
        await t.ask(`race 2 0 ${Math.min(pages, 64) * PAGE} ${r(1000) * 2 + 1}`)
        await sleep(5 + r(40))
        const said = await t.ask('endrace 2')
        if (!said.startsWith('0 '))
          throw new Error(`threads found ${said.split(' ')[0]} pages other than they left them`)
        const end = Math.min(pages, 64) * PAGE
        return await t.fill(0, end, 0)
      }
      case 18:
      case 19: {
        // The target maps and unmaps blocks of its own while pages are dropped: nobody may unmap those.
        await t.ask(`churn ${r(2 ** 20)}`)
        const work = [this.#pager({ op: 'make', explained: this.#explained() }), this.#pager({ op: 'drop' })]
        await sleep(r(80))
        const said = await t.ask('x')
        if (!said.startsWith('0 ')) throw new Error(`blocks of the target's own differ: ${said}`)
        await Promise.all(work)
        return
      }
      default:
        return await this.#expect(`sum ${at} ${some}`, t.predicted(at, some))
    }
  }

  async #mremap(kind: number, more: number): Promise<void> {
    const t = this.#target
    if (!this.#whole || t.length > 800 * PAGE) return
    // The heap can't be moved with the C library on it.
    if (
      readFileSync(`/proc/${t.pid()}/maps`, 'latin1').includes(`${t.base.toString(16).padStart(8, '0')}-`) ===
      false
    )
      return
    if (/\[heap\]/.test(mappingOf(t))) return
    if (kind === 0) {
      const length = t.length + more
      await this.#grown(`grow ${length}`)
      t.memory = Buffer.concat([t.memory, Buffer.alloc(more)])
    } else if (kind === 1) {
      const keep = t.length - PAGE * Math.min(8, t.length / PAGE - 2)
      const whole = t.length
      await this.#grown(`shrink ${keep}`)
      await this.#grown(`grow ${whole}`)
      t.memory.fill(0, keep)
    } else {
      await this.#expect(`relocate ${t.length + more}`, 0)
      t.memory = Buffer.concat([t.memory, Buffer.alloc(more)])
    }
    this.#note(`mremap ${kind}`)
    t.base = await t.number('base')
  }

  async #grown(command: string): Promise<void> {
    const moved = await this.#target.ask(command)
    if (moved !== '0' && moved !== '1') throw new Error(`${command}: ${moved}`)
  }

  // Somebody writes the file that memory is made of.
  async #file(kind: number): Promise<void> {
    const file = this.#stuff.source
    if (!this.#backed) return
    this.#backed = false
    this.#note(`file ${kind}`)
    if (kind === 0) await unlink(file)
    else if (kind === 1) await truncate(file, PAGE * 3)
    else if (kind === 2) await appendFile(file, 'more')
    else if (kind === 3) await writeFile(file, Buffer.alloc(40 * PAGE, 7))
    else await this.#expect(`truncate ${file} 5000`, 0)
  }
}

const readable = (file: string): number => {
  try {
    return readFileSync(file).length
  } catch {
    return 0
  }
}

const mappingOf = (t: Target): string =>
  readFileSync(`/proc/${t.pid()}/maps`, 'latin1')
    .split('\n')
    .find(line => Number.parseInt(line, 16) === t.base) ?? '[heap]'
