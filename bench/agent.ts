// What it costs to look after a whole machine: the daemon while its targets come and go, `top` beside many processes.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { atEnd } from './lib/cleanup.ts'
import { dataFile, dataFolder } from './lib/data.ts'
import { cpuSeconds, lethe, ownState, rollup } from './lib/lethe.ts'
import { max, sleep } from './lib/stats.ts'
import { atMost, type Cell, type Goal } from './lib/table.ts'
import { Target } from './lib/target.ts'

const seconds = 60
/** Short-lived processes a minute, how much each holds and how long it lives at most. */
const churn = 1000
const heldMB = 24
const livesMs = 3000
const crowd = 200

export const bench: Bench = {
  about: `The daemon for ${seconds} s while ${churn} processes of ${heldMB} MB a minute, which its policy is about, come and go; top with ${crowd} processes.`,
  async run() {
    const python = which('python3')
    if (python === undefined) throw new Skip('no python3')
    const daemons = [await churned(python, 10), await churned(python, 0)]
    const top = await watched(python)
    const goals = (what: string, used: Used, most: number): Goal[] => [
      atMost(`${what}: of one CPU`, most, used.share, '%'),
      atMost(`${what}: memory`, 120, used.pss / 1e6, 'MB'),
    ]
    const row = (what: string, { share, pss, others }: Used): Cell[] => [what, share, pss / 1e6, others]
    return [
      {
        title: 'A whole machine',
        head: ['what', '% of one CPU', 'Pss at most, MB', 'attached'],
        rows: [
          row('daemon, attaches after 10 s', daemons[0] as Used),
          row('daemon, attaches at once', daemons[1] as Used),
          row(`top, ${crowd} processes`, top),
        ],
        notes: [
          `CPU is of all of Lethe's processes in ${seconds} s, pagers included; memory is the daemon's or top's own. One target stays, and is used throughout.`,
        ],
        goals: [
          ...goals('daemon', daemons[0] as Used, 5),
          ...goals('daemon, at once', daemons[1] as Used, 5),
          atMost('top: of one CPU', 3, top.share, '%'),
        ],
      },
    ]
  },
}

interface Used {
  readonly share: number
  readonly pss: number
  readonly others: number
}

/** In the command lines of our processes. */
const ours = `${join(import.meta.dirname, '../dist')}/`

/** CPU seconds of all processes of Lethe, those that end meanwhile too, from now on. */
class Meter {
  readonly #first = new Map<string, number>()
  readonly #last = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  constructor() {
    this.#look()
    for (const [key, used] of this.#last) this.#first.set(key, used)
    this.#timer = setInterval(() => this.#look(), 200)
  }
  #look(): void {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue
      try {
        const words = readFileSync(`/proc/${name}/cmdline`, 'utf8')
        if (!words.includes(ours) && !words.includes(lethe)) continue
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
        this.#last.set(`${name} ${stat.split(' ')[21]}`, cpuSeconds(Number(name)))
      } catch {
        // Gone.
      }
    }
  }
  end(): number {
    clearInterval(this.#timer)
    this.#look()
    let sum = 0
    for (const [key, used] of this.#last) sum += used - (this.#first.get(key) ?? 0)
    return sum
  }
}

// Lives for up to `livesMs`, holding a file of the bench's.
const short = `import sys, time; data = open(sys.argv[1], 'rb').read(); time.sleep(float(sys.argv[2]))`

async function churned(python: string, settle: number): Promise<Used> {
  const hold = join(import.meta.dirname, 'targets/hold.py')
  const target = await Target.start(python, [hold, dataFile('log', 100)])
  const policy = join(dataFolder, `policy-${process.pid}.json`)
  const rules = [{ name: 'python', match: { command: 'python3*' } }]
  writeFileSync(policy, JSON.stringify({ settle, minimum: '16M', rules }))
  const daemon = spawn(lethe, ['daemon', '--policy', policy, '--json', '--state', ownState()], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const over = atEnd(() => daemon.kill('SIGKILL'))
  let said = ''
  daemon.stdout?.on('data', (data: Buffer) => (said += data.toString()))
  while (!said.includes(`"attached","pid":${target.pid},`)) await sleep(200)
  const first = said.length
  const file = dataFile('log', heldMB)
  const alive = new Set<ChildProcess>()
  const meter = new Meter()
  const sizes: number[] = []
  const began = performance.now()
  for (let n = 0; performance.now() - began < seconds * 1000; n++) {
    const child = spawn(python, ['-c', short, file, String(((n * 7919) % livesMs) / 1000)])
    alive.add(child)
    child.on('exit', () => alive.delete(child))
    if (n % 20 === 0) {
      await target.ask('read')
      sizes.push(rollup(daemon.pid as number).get('Pss') ?? 0)
    }
    await sleep(Math.max(0, began + (n + 1) * (60_000 / churn) - performance.now()))
  }
  const used = meter.end()
  const attached = [...said.slice(first).matchAll(/"type":"attached"/g)].length
  for (const child of alive) child.kill('SIGKILL')
  const ended = new Promise(resolve => daemon.once('exit', resolve))
  daemon.kill('SIGTERM')
  await ended
  over()
  await target.end()
  return { share: (used / seconds) * 100, pss: max(sizes), others: attached }
}

async function watched(python: string): Promise<Used> {
  const many: ChildProcess[] = []
  const file = dataFile('log', heldMB)
  const over = atEnd(() => {
    for (const child of many) child.kill('SIGKILL')
  })
  for (let n = 0; n < crowd; n++) many.push(spawn(python, ['-c', short, file, '600']))
  await sleep(5000)
  const view = spawn('script', ['-qfc', `${lethe} top --state ${ownState()}`, '/dev/null'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { ...process.env, TERM: 'xterm' },
  })
  await sleep(3000)
  const meter = new Meter()
  const pid = await pidOf('top')
  const sizes: number[] = []
  for (let i = 0; i < seconds; i++) {
    await sleep(1000)
    sizes.push(rollup(pid).get('Pss') ?? 0)
  }
  const used = meter.end()
  process.kill(pid, 'SIGTERM')
  view.kill('SIGKILL')
  over()
  return { share: (used / seconds) * 100, pss: max(sizes), others: 0 }
}

async function pidOf(word: string): Promise<number> {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      if (words.includes(word) && words.includes(ownState()) && words[0]?.endsWith('node'))
        return Number(name)
    } catch {
      // Gone.
    }
  }
  throw new Skip(`lethe ${word} has not started`)
}
