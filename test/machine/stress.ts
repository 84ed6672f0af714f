/**
 * Random operations on a machine with several processes, against a plain model (plain-memory.ts): what each process may do with each
 * page, and which bytes it must see. What is looked at when:
 *
 *   after every operation        verdict and bytes against the model; every invariant (check.ts, bytes too) of the pages that it touched
 *                                and of those that had to go for them, and the counts of memory
 *   after every fork and exit,   every invariant of the whole machine; each fourth time with the bytes of all frames
 *   and after 1 to 256 others
 *   after 10,000                 all bytes of all processes, read through the machine
 *
 *   npm run stress:machine -- [first seed] [seeds] [operations] [seconds]
 *
 * After `seconds` no further seed is begun; the last line says where to go on.
 */
import { lensNamed } from '../../src/lens/catalogue.ts'
import type { Access, Eviction } from '../../src/machine/access.ts'
import { check, checkPages } from '../../src/machine/check.ts'
import type { Source } from '../../src/machine/disk.ts'
import { Machine } from '../../src/machine/machine.ts'
import { Random } from '../../src/machine/sets.ts'
import { policyNames } from '../../src/policy/index.ts'
import { PlainMemory, READ, WRITE } from './plain-memory.ts'

const page = 64
const pages = 256

export interface StressCounts {
  accesses: number
  faults: number
  evictions: number
  forks: number
  switches: number
  /** Times that the whole machine was checked. */
  checks: number
}

/** A machine small enough that everything happens often. */
function randomConfig(random: Random, seed: number): { readonly config: object; readonly inside: boolean } {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const local = random.below(4) === 0
  const inside = random.below(3) === 0
  const config = {
    virtualBits: 14,
    physicalBits: 13,
    pageSize: page,
    frames: inside ? 96 : 24 + random.below(40),
    pageTable: {
      levels: pick(inside ? [[8], [4, 4]] : [[8], [4, 4], [3, 3, 2]]),
      entry: pick(['compact', 'p6', 'sv39']),
      placement: inside ? 'frames' : 'outside',
      cached: random.below(2) === 0,
    },
    tlb: pick([null, { entries: 8, ways: 2, asid: true }, { entries: 4, ways: 4, policy: 'fifo' }]),
    itlb: pick([null, { entries: 4, ways: 1, asid: true }]),
    caches: pick([[], [{ unified: { size: 256, line: 16, ways: 2 } }]]),
    policy: pick(policyNames),
    allocation: local ? 'local' : 'global',
    framesPerProcess: local ? 4 : 0,
    swapSlots: 4096,
    seed,
  }
  return { config, inside }
}

/** Whole pages of random bytes, and then what is left of `length`. */
function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = random.below(256)
  return bytes
}

class Stress {
  readonly machine: Machine
  readonly counts: StressCounts = { accesses: 0, faults: 0, evictions: 0, forks: 0, switches: 0, checks: 0 }
  readonly #random: Random
  readonly #spaces = new Map<number, PlainMemory>()
  #pids: number[] = []
  readonly #most: number
  // What everybody sees of a file; the machine's own copy follows when dirty pages are written. Files end with a page: what is
  // written behind the end of one may or may not be kept.
  readonly #files: { readonly source: Source; readonly bytes: Uint8Array }[]
  // A file may not change under a lens: this one is read by nobody else. It ends within a page, zeros follow.
  readonly #lens: { readonly source: Source; readonly bytes: Uint8Array }
  readonly #data = Array.from({ length: 9 }, (_, size) => new Uint8Array(size))
  readonly #lately = new Uint8Array(6)
  #next = 0
  #untilCheck = 1

  constructor(seed: number) {
    this.#random = new Random(seed * 48_271 + 11)
    const { config, inside } = randomConfig(this.#random, seed)
    // Page tables take much of a small memory: then fewer processes share it.
    this.#most = inside ? 2 : 5
    this.machine = new Machine(config)
    this.machine.signalsEnd = false
    this.#files = [4, 5].map(count => {
      const bytes = randomBytes(this.#random, page * count)
      return { source: this.machine.file(`file of ${count}`, bytes.slice()), bytes }
    })
    const narrow = randomBytes(this.#random, page * 4 + 17)
    const wide = new Uint8Array(Math.ceil((2 * narrow.length) / page) * page)
    narrow.forEach((byte, i) => {
      wide[i * 2] = byte
    })
    const source = this.machine.lens(this.machine.file('narrow', narrow), lensNamed('latin1-utf16'))
    this.#lens = { source, bytes: wide }
    const { pid } = this.machine.open('p')
    this.machine.munmap(pid, 0, 2 ** 14)
    this.#live(pid, new PlainMemory(pages, page))
  }

  #live(pid: number, space: PlainMemory | undefined): void {
    if (space === undefined) this.#spaces.delete(pid)
    else this.#spaces.set(pid, space)
    this.#pids = [...this.#spaces.keys()]
  }

  #one(of: readonly number[]): number {
    return of[this.#random.below(of.length)] as number
  }

  /** One operation. */
  step(number: number): void {
    const pid = this.#one(this.#pids)
    const space = this.#spaces.get(pid) as PlainMemory
    const what = this.#random.below(1000)
    let whole = --this.#untilCheck === 0
    if (what < 790) this.#access(pid, space)
    else if (what < 850) this.#map(pid, space)
    else if (what < 890) this.#unmap(pid, space)
    else if (what < 900) this.#remove(pid, space)
    else if (what < 930) this.#protect(pid, space)
    else if (what < 965) this.#evicted(this.machine.reclaim(pid))
    else if (what < 975) this.#drop(pid)
    else if (what < 988) this.machine.switchTo(pid)
    else whole = (what < 994 ? this.#fork(pid, space) : this.#exit(pid)) || whole
    if (whole) {
      if (this.#untilCheck <= 0) this.#untilCheck = 1 + this.#random.below(256)
      check(this.machine, this.counts.checks++ % 4 === 0 ? 2 : 1)
    }
    if (number % 10_000 === 0) this.readAll()
  }

  /** Every byte that a process may read. */
  readAll(): void {
    for (const [pid, space] of this.#spaces)
      for (const vpn of space.mapped) if (space.may(vpn, READ)) this.#load(pid, space, vpn, 0, page)
    check(this.machine, 2)
  }

  #access(pid: number, space: PlainMemory): void {
    const random = this.#random
    const { mapped } = space
    const kind = random.below(20)
    // What was used lately, so that TLBs and caches hit as well; anything that is mapped; anything.
    const vpn =
      kind < 11
        ? (this.#lately[random.below(this.#lately.length)] as number)
        : kind < 19 && mapped.length > 0
          ? this.#one(mapped)
          : random.below(pages)
    this.#lately[this.#next++ % this.#lately.length] = vpn
    const offset = random.below(page)
    const size = 1 + random.below(Math.min(8, page - offset))
    if (random.below(2) === 0) this.#load(pid, space, vpn, offset, size)
    else this.#store(pid, space, vpn, offset, size)
  }

  #load(pid: number, space: PlainMemory, vpn: number, offset: number, size: number): void {
    const address = vpn * page + offset
    const { bytes, accesses } = this.machine.load(pid, address, size)
    this.#seen(pid, vpn, accesses[0] as Access, space.may(vpn, READ))
    if (!space.may(vpn, READ)) return
    const want = space.at(vpn)
    for (let i = 0; i < size; i++)
      if (bytes[i] !== want[offset + i])
        throw new Error(
          `read at ${address} of process ${pid}: ${bytes.join()} instead of ${want.subarray(offset, offset + size).join()}`,
        )
  }

  #store(pid: number, space: PlainMemory, vpn: number, offset: number, size: number): void {
    const data = this.#data[size] as Uint8Array
    for (let i = 0; i < size; i++) data[i] = this.#random.below(256)
    const [access] = this.machine.store(pid, vpn * page + offset, data)
    this.#seen(pid, vpn, access as Access, space.may(vpn, WRITE))
    if (space.may(vpn, WRITE)) space.write(vpn, offset, data)
  }

  #seen(pid: number, vpn: number, access: Access, allowed: boolean): void {
    if (allowed !== (access.physical !== undefined))
      throw new Error(
        `${access.kind} at ${access.address} of process ${pid}: ${access.verdict}, the model says ${allowed}`,
      )
    checkPages(this.machine, pid, vpn, 1)
    for (const gone of access.fault?.evictions ?? []) this.#evicted(gone)
  }

  #evicted(gone: Eviction | undefined): void {
    for (const { process, vpn } of gone?.pages ?? []) checkPages(this.machine, process, vpn, 1)
  }

  #map(pid: number, space: PlainMemory): void {
    const random = this.#random
    const vpn = random.below(pages)
    const kind = random.below(5)
    const shared = kind === 2 || (kind === 3 && random.below(2) === 0)
    const write = random.below(4) > 0
    const from = kind < 3 ? undefined : kind === 3 ? this.#files[random.below(2)] : this.#lens
    const count = Math.min(1 + random.below(6), (from?.bytes.length ?? Number.POSITIVE_INFINITY) / page)
    if (!space.isFree(vpn, count)) return
    this.machine.mmap(pid, {
      at: vpn * page,
      length: count * page,
      protection: { write },
      shared,
      ...(from === undefined ? {} : { source: from.source }),
    })
    const rights = write ? READ | WRITE : READ
    for (let i = 0; i < count; i++)
      if (from === undefined) space.mapZeros(vpn + i, rights, shared)
      else if (from === this.#lens) space.mapLens(vpn + i, rights, from.bytes, i * page)
      else space.mapFile(vpn + i, rights, from.bytes, i * page, shared)
    checkPages(this.machine, pid, vpn, count)
  }

  #range(): { readonly vpn: number; readonly count: number } {
    const vpn = this.#random.below(pages)
    return { vpn, count: Math.min(1 + this.#random.below(5), pages - vpn) }
  }

  #unmap(pid: number, space: PlainMemory): void {
    const { vpn, count } = this.#range()
    this.machine.munmap(pid, vpn * page, count * page)
    for (let i = 0; i < count; i++) space.unmap(vpn + i)
    checkPages(this.machine, pid, vpn, count)
  }

  #remove(pid: number, space: PlainMemory): void {
    const { vpn, count } = this.#range()
    this.machine.remove(pid, vpn * page, count * page)
    for (let i = 0; i < count; i++) space.remove(vpn + i)
    checkPages(this.machine, pid, vpn, count)
  }

  #protect(pid: number, space: PlainMemory): void {
    if (space.mapped.length === 0) return
    const vpn = this.#one(space.mapped)
    const read = this.#random.below(5) > 0
    const write = read && this.#random.below(2) === 0
    this.machine.mprotect(pid, vpn * page, page, { read, write, execute: false })
    space.protect(vpn, (read ? READ : 0) | (write ? WRITE : 0))
    checkPages(this.machine, pid, vpn, 1)
  }

  #drop(pid: number): void {
    const vpn = this.#random.below(pages)
    this.machine.drop(pid, vpn * page)
    checkPages(this.machine, pid, vpn, 1)
  }

  // Whether there is one now.
  #fork(pid: number, space: PlainMemory): boolean {
    if (this.#spaces.size >= this.#most) return false
    this.#live(this.machine.fork(pid).pid, space.fork())
    this.counts.forks++
    return true
  }

  #exit(pid: number): boolean {
    if (this.#spaces.size === 1) return false
    this.machine.exit(pid)
    this.#live(pid, undefined)
    return true
  }
}

/** Runs `operations` of a seed. Throws where machine and model differ; the message says seed and operation. */
export function stress(seed: number, operations: number): StressCounts {
  const run = new Stress(seed)
  for (let number = 1; number <= operations; number++)
    try {
      run.step(number)
    } catch (error) {
      throw new Error(`seed ${seed}, operation ${number}: ${(error as Error).message}`, { cause: error })
    }
  run.readAll()
  const { accesses, evictions, pageFaults } = run.machine.counters
  return Object.assign(run.counts, {
    accesses,
    evictions,
    faults: pageFaults,
    switches: run.machine.contextSwitches,
  })
}

if (process.argv[1] === import.meta.filename) {
  const [from = 1, count = 100, operations = 1_000_000, seconds = Number.POSITIVE_INFINITY] = process.argv
    .slice(2)
    .map(Number)
  const began = performance.now()
  let seed = from
  for (; seed < from + count && performance.now() - began < seconds * 1000; seed++) {
    const start = process.cpuUsage()
    const { accesses, faults, evictions, forks, switches, checks } = stress(seed, operations)
    const { user, system } = process.cpuUsage(start)
    const time = ((user + system) / 1e6).toFixed(1)
    console.log(
      `seed ${seed}: ${operations} operations, ${accesses} accesses, ${faults} faults, ${evictions} evictions, ${forks} forks, ${switches} switches, ${checks} whole checks, no difference (${time} s of a processor)`,
    )
  }
  if (seed < from + count) console.log(`Time is up: seeds ${seed} to ${from + count - 1} are left.`)
}
