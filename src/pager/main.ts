// The pager process: one target. Started by the supervisor as `node main.js DIRECTORY PID OPTIONS`, again with the same
// words after it has died; whether that means attach or adopt is for the journal to say.
//
//   stdout: one line of JSON once it serves, `{"type":"serving",…}`, or says why it does not, `{"type":"refused",…}`
//   control.sock: lines of JSON, see `Question`; every answer is one line
//   exit code: 0 the target ended or was left; 3 refused; 75 it has exec'd and is to be attached anew, or its sleeper
//     (rest.ts) was woken; anything else: the supervisor starts a successor
//   LETHE_BEFORE: how the one before has ended; 76: its sleeper was woken, and then its supervisor has ended
import { closeSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { SeenFile } from '../process/candidates.ts'
import { commandLine, hasUserfaultfd, memoryFigures, proportionalSize, startTime } from '../process/target.ts'
import { ProcessError } from '../process/errors.ts'
import { errnoName } from '../sys/errno.ts'
import { exitNow } from '../sys/ffi.ts'
import { again, Controller, type PagerOptions } from './controller.ts'
import { PagerError } from './errors.ts'
import { counter, pageBytes } from './journal.ts'
import { endOwnKeeper } from './keeper.ts'
import { endNap, makeRoomForNap, type Nap, readNap, writeNap } from './nap.ts'
import { Passes, type PassesState } from './passes.ts'
import { report } from './report.ts'
import { Rest } from './rest.ts'
import { becomeSleeper } from './sleeper.ts'
import { shed, shedAfterServer } from './shed.ts'
import { lockTarget, readRecord } from './state-dir.ts'
import { Supervisor } from './supervisor.ts'
import { Seen, watch } from './watch.ts'
import { removeFolder } from '../sys/folder.ts'

/** What can be asked through the control socket. */
export type Question =
  | { ask: 'status' }
  | { ask: 'settled' }
  | { ask: 'pass' }
  | { ask: 'drop' }
  | { ask: 'detach' }
  /** More files that memory may have been copied from. */
  | { ask: 'files'; files: readonly SeenFile[] }

/** Figures of one attached process. Bytes, unless a name says otherwise. */
export interface PagerStatus {
  readonly type: 'status'
  readonly pid: number
  readonly command: string
  readonly pager: number
  readonly supervisor: number
  readonly adopted: boolean
  readonly seconds: number
  /** Resident and private anonymous memory of the target, when we came and now. */
  readonly before: { rss: number; anonymous: number }
  readonly now: { rss: number; anonymous: number; swap: number }
  /** Explained memory that is resident, and that holds no memory. */
  readonly clean: number
  readonly virtual: number
  readonly faults: number
  readonly refilled: number
  readonly dropped: number
  readonly zeroed: number
  readonly writes: number
  readonly lost: number
  readonly stallSeconds: number
  /** Of a pressure limit: the limit and the present share of time that the target waits for us, 0 to 1. */
  readonly pressure?: { limit: number; share: number }
  readonly pauses: { stops: number; longestMs: number; totalMs: number }
  readonly passes: number
  readonly settled: boolean
  /** Nobody has wanted anything lately: its sleeper (sleeper.ts) stands for the pager. */
  readonly asleep?: true
  readonly children: number
  /** Proportional set size of pager and supervisor. */
  readonly own: number
  /** Bytes of packs: compressed memory, held beside the journal. Part of `own`. */
  readonly packs: number
  /** Bytes of recipe files: programs and literals, held beside the journal. Part of `own`. */
  readonly recipes: number
  /**
   * `price`: seconds that a refill of 64 KiB takes, as measured. `copy`: the file is open for writing, and a private copy
   * of it serves.
   */
  readonly backings: readonly { path: string; lens: string; price: number; copy?: true; lost?: string }[]
  readonly refused: readonly string[]
  readonly reports: readonly string[]
}

const [directory = '', pidText = '', optionsText = '{}'] = process.argv.slice(2)
const pid = Number(pidText)
const options = JSON.parse(optionsText) as PagerOptions
const say = (message: object): void => {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}
process.stdout.on('error', () => {}) // whoever waited for the first line may be gone
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})
// A bug of ours is a death, so that a successor comes. Node would wait for the server's thread, which waits for faults for ever.
process.on('uncaughtException', error => {
  console.error(`lethe: the pager of process ${pid}:`, error)
  exitNow(70)
})

const before = Number(process.env['LETHE_BEFORE'] ?? 0)
const orphaned = before === again + 1
// Nothing had gone wrong: a successor that the supervisor did start has put everything back.
const done = (): boolean => orphaned && !existsSync(join(directory, 'journal'))
if (done()) process.exit(3)

if (!lockTarget(dirname(directory), pid)) {
  say({ type: 'refused', code: 'busy', message: `Process ${pid} has a pager already; see lethe status` })
  process.exit(3)
}
if (done()) exitNow(3)
// `lethe run`: the command has just been started, or has not been yet.
let seen: Seen | undefined
if (options.waitFor !== undefined)
  seen = existsSync(join(directory, 'journal')) ? new Seen(pid) : await watch(pid, directory, options, say)

let controller: Controller
let adopted = false
// What it was when it went to sleep.
const nap = readNap(directory)
/** This is there if it can't sleep here. */
const sleepless = join(directory, 'sleepless')
try {
  controller = new Controller(pid, directory, options)
  adopted = existsSync(join(directory, 'journal'))
  if (adopted)
    try {
      controller.adopt()
    } catch (error) {
      // A journal of an earlier process with this number, or one that never got as far as a userfaultfd.
      if (!(error instanceof PagerError) || (error.code !== 'adopt' && error.code !== 'journal')) throw error
      // What this process's own predecessor left is never thrown away: its pages may be out.
      const start = startTime(pid)
      if (hasUserfaultfd(pid) && (readRecord(directory)?.start ?? start) === start) throw error
      adopted = false
      removeFolder(directory)
      controller = new Controller(pid, directory, options)
      controller.attach()
    }
  else controller.attach()
} catch (error) {
  refuse(error)
}

function refuse(error: unknown): never {
  const known = error instanceof ProcessError || error instanceof PagerError
  say({ type: 'refused', code: known ? error.code : 'failed', message: (error as Error).message })
  if (!known) console.error(error)
  const gone = known && error.code === 'gone'
  if (!adopted || gone) removeFolder(directory)
  // A target that was served before waits for us: the supervisor tries again.
  if (!adopted || gone) endOwnKeeper()
  exitNow(adopted && !gone ? 1 : 3)
}

const c: Controller = controller
const supervisor = new Supervisor([directory, pidText, optionsText])
const known = adopted ? nap : undefined
const woken = known !== undefined && (before === again || orphaned)
// Of one that was killed while it slept nobody knows what has happened since: a pass is made as after any death.
const passes = new Passes(c, adopted, woken ? known.passes : undefined)
if (known !== undefined) {
  c.addFiles(known.files)
  c.prices.learn(known.prices ?? [])
  c.before = { ...known.status.before, swap: 0 }
  c.passes = known.status.passes
  const { stops, longestMs, totalMs } = known.status.pauses
  Object.assign(c.pauses, { stops, longest: longestMs, total: totalMs })
  c.reports.unshift(...known.status.reports)
}
const started =
  performance.now() - (known === undefined ? 0 : known.status.seconds * 1000 + Date.now() - known.at)
const wanted = (): number => c.journal.counters[counter.faults] as number
const rest = new Rest(known, wanted(), options.calm)
try {
  writeFileSync(
    join(directory, 'pager.json'),
    JSON.stringify({ pager: process.pid, supervisor: supervisor.pid, start: startTime(pid), options }),
  )
} catch (error) {
  // Nothing has been dropped yet, unless by a predecessor, whose record will do.
  if (!adopted) {
    await c.detach()
    refuse(new PagerError('journal', `${directory} can't be written: ${(error as Error).message}`))
  }
}

function status(): PagerStatus {
  const n = (i: number): number => (c.journal.counters[i] as number) >>> 0
  const now = memoryFigures(pid) ?? { rss: 0, anonymous: 0, swap: 0 }
  return {
    type: 'status',
    pid,
    command: commandLine(pid),
    pager: process.pid,
    supervisor: supervisor.pid,
    adopted: woken ? (known?.status.adopted ?? true) : adopted,
    seconds: (performance.now() - started) / 1000,
    before: { rss: c.before?.rss ?? 0, anonymous: c.before?.anonymous ?? 0 },
    now,
    clean: n(counter.clean) * pageBytes,
    virtual: n(counter.virtual) * pageBytes,
    faults: n(counter.faults),
    refilled: n(counter.refilledPages) * pageBytes,
    dropped: n(counter.droppedPages) * pageBytes,
    zeroed: n(counter.zeroPages) * pageBytes,
    writes: n(counter.writes),
    lost: n(counter.lostPages) * pageBytes,
    stallSeconds: c.waited,
    ...(c.governor === undefined ? {} : { pressure: { limit: c.governor.limit, share: c.governor.share } }),
    pauses: { stops: c.pauses.stops, longestMs: c.pauses.longest, totalMs: c.pauses.total },
    passes: c.passes,
    settled: passes.settled,
    children: c.children,
    packs: c.holdings.packedBytes,
    recipes: c.holdings.recipeBytes,
    own:
      c.holdings.packedBytes +
      c.holdings.recipeBytes +
      proportionalSize(process.pid) +
      (supervisor.pid > 1 ? proportionalSize(supervisor.pid) : 0),
    backings: c.holdings.records.map(b => ({
      path: b.path,
      lens: b.lens ?? 'verbatim',
      price: c.prices.of(b.index),
      ...(b.original === undefined ? {} : { copy: true }),
      ...(b.lost === undefined ? {} : { lost: b.lost }),
    })),
    refused: [...c.holdings.refused.values()].map(r => r.why),
    reports: c.reports.slice(-20),
  }
}

async function answer(question: Question): Promise<object> {
  switch (question.ask) {
    case 'status':
      return status()
    case 'settled':
      await settled
      return status()
    case 'pass':
      await passes.now()
      return status()
    case 'drop':
      c.dropClean(() => true)
      return status()
    case 'detach':
      await passes.stop()
      await c.detach().catch(error => {
        passes.resume()
        throw error
      })
      return { type: 'detached', pid }
    case 'files':
      return { type: 'files', added: c.addFiles(question.files) }
  }
}

// Of questions: how many there were of those that have something done, and how many are not answered yet.
let asked = 0
let open = 0
const sockets = new Set<Socket>()
const server = createServer((socket: Socket) => {
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
  createInterface({ input: socket }).on('line', line => {
    open++
    void (async () => {
      let reply: object
      try {
        const question = JSON.parse(line) as Question
        if (question.ask !== 'status' && question.ask !== 'settled') asked++
        // Who asks a moment before it sleeps loses the connection, and asks again.
        while (goingToSleep) await wait(10)
        reply = await answer(question)
      } catch (error) {
        reply = { type: 'error', message: (error as Error).message }
      }
      open--
      socket.write(`${JSON.stringify(reply)}\n`)
    })()
  })
})
const socketPath = join(directory, 'control.sock')
rmSync(socketPath, { force: true })
server.listen(socketPath, () => endNap(directory))

if (seen !== undefined) c.addFiles(seen.drain())
passes.begin()
if (known === undefined) void passes.first.then(() => report(options.report, pid, 'attached', status()))
say({ type: 'serving', pid, adopted, pager: process.pid })

const interval = options.budget === undefined && options.pressure === undefined ? 1000 : 100
const timer = setInterval(() => {
  if (seen !== undefined) c.addFiles(seen.drain())
  try {
    c.beat()
    passes.beat()
    supervisor.beat()
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error
    console.error(`lethe: process ${pid}: ${error.message}`)
  }
}, interval)
// Small again soon after work, not in the middle of it; after passes, which leave holes everywhere, thoroughly.
let worked = 0
let small = -1
let beats = 0
let passesShed = 0
const shedding = setInterval(() => {
  const work = c.passes + (c.journal.counters[counter.faults] as number)
  const busy = work !== worked || passes.running
  worked = work
  if (work === small || (busy && ++beats % 60 !== 0)) return
  small = work
  if (!busy && c.passes !== passesShed) void shedAll()
  else shed(false)
}, 500)

async function shedAll(): Promise<void> {
  passesShed = c.passes
  shed(true)
  await c.shedServer()
  shedAfterServer()
}

// Who waits for the first pass sees what we take from then on.
const settled = passes.first.then(() => (known === undefined ? shedAll() : undefined))

// Asleep it costs next to nothing.
let goingToSleep = false
const resting = setInterval(
  () => {
    const done = [counter.events, counter.droppedPages].map(i => c.journal.counters[i] as number)
    const others = done.reduce((sum, n) => sum + n, asked + c.passes)
    const clean = (c.journal.counters[counter.clean] as number) * pageBytes
    const state = passes.state
    const busy = state === undefined || open > 0
    const calm = rest.beat({ busy, target: wanted(), others, clean })
    // What `lethe run` notes must be read as it comes; who limits the stalls counts each.
    if (!calm || goingToSleep || state === undefined || seen !== undefined || c.governor !== undefined) return
    if (supervisor.pid > 1 && supervisor.wanted && !existsSync(sleepless)) void goToSleep(state)
  },
  Math.min(100, options.calm || 100),
)

// -1: it is closed.
const descriptorOf = (what: object): number => (what as { _handle: { fd: number } | null })._handle?.fd ?? -1

const napNow = (state: PassesState): Nap => ({
  sleeper: { pid: process.pid, start: startTime(process.pid) ?? 0 },
  at: Date.now(),
  calm: rest.calm,
  wanted: wanted(),
  status: status(),
  passes: state,
  files: c.files,
  prices: c.prices.known(c.holdings.records.map(({ index }) => index)),
})

// Nothing that it could write down for a successor: it stays awake, and looks again when there may be room. Said once.
let noRoom: string | undefined
let tryAgain = 0

function roomToSleep(state: PassesState): boolean {
  if (performance.now() < tryAgain) return false
  try {
    makeRoomForNap(directory, napNow(state))
    return true
  } catch (error) {
    tryAgain = performance.now() + 60_000
    if (noRoom === undefined) {
      noRoom = `its pager stays awake: ${(error as Error).message}`
      c.reports.push(noRoom)
      console.error(`lethe: process ${pid}: ${noRoom}`)
    }
    return false
  }
}

async function goToSleep(state: PassesState): Promise<void> {
  if (!roomToSleep(state)) return
  goingToSleep = true
  const watched = await c.sleep()
  if (watched === undefined) {
    goingToSleep = false
    return
  }
  // Not before: the server may have been in the middle of something.
  const nap = napNow(state)
  const alarm = { ...passes.limits, seconds: nap.status.clean < 1 << 20 ? 0 : 600 }
  // Who has asked and was not heard asks again. The keeper has these too.
  for (const fd of [...sockets].map(descriptorOf)) if (fd >= 0) closeSync(fd)
  writeNap(directory, nap)
  const failed = becomeSleeper({
    target: pid,
    watched,
    listening: descriptorOf(server),
    supervisor: supervisor.isParent ? supervisor.pid : 0,
    command: supervisor.command,
    alarm,
  })
  // A successor would try the same.
  console.error(`lethe: process ${pid}: its pager can't sleep (${errnoName(failed)})`)
  writeFileSync(sleepless, '')
  endNap(directory)
  exitNow(again)
}

await c.over
clearInterval(timer)
clearInterval(resting)
report(options.report, pid, 'ended', status())
clearInterval(shedding)
server.close()
// Let the answer to `detach` go out first.
setTimeout(() => {
  removeFolder(directory)
  if (c.ended === 'exec') supervisor.again(directory)
  else rmSync(`${directory}.log`, { force: true })
  endOwnKeeper()
  exitNow(c.ended === 'exec' ? again : 0)
}, 50)
