// One run of a guest under replay: the guest on the calling thread, the keeper on one of its own.
import { closeSync, existsSync, openSync } from 'node:fs'
import { type MessagePort, MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { type Ending, run, type Running, type RunOptions } from '../guest/instance.ts'
import type { Guest } from '../guest/load.ts'
import * as fds from '../sys/fd.ts'
import { oneHeap } from '../sys/ffi.ts'
import * as uffd from '../sys/uffd.ts'
import { decode } from '../wasm/decode.ts'
import { heedHints } from '../wasm/hints.ts'
import { analyse, segmentsOf } from './analysis.ts'
import { type Explanation, explanationOf } from './explain.ts'
import { instrument } from './instrument.ts'
import {
  type Drops,
  type FromKeeper,
  type KeeperData,
  type KeeperReport,
  sharedBytes,
  type Shared,
  sharedOf,
  type ToKeeper,
  word,
} from './protocol.ts'
import { Recorder } from './recorder.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
const USER_MODE_ONLY = 1

export interface Session {
  readonly ending: Ending
  readonly explanation: Explanation
}

export interface SessionOptions extends RunOptions {
  /** Bytes of refilled pages that may stay. Default: a tenth of what the guest has written. */
  readonly budget?: number
}

/** Runs a guest so that what it makes is forgotten and made again. */
export function runReplayed(guest: Guest, options: SessionOptions = {}): Session {
  const began = performance.now()
  oneHeap()
  heedHints()
  const { analysis: made, cached } = analyse(guest)
  const took = { milliseconds: performance.now() - began, cached }
  if (made.refusal !== undefined)
    return { ending: run(guest, options), explanation: refused(guest, made.refusal.message, took) }
  // As in any run within a budget: who reads what it has given back may read zeros. Otherwise a guest reads there what it would have read.
  const frees = options.budget === undefined ? [] : made.frees
  const pages = made.mostPages * 16
  const buffer = new SharedArrayBuffer(sharedBytes(pages))
  const shared = sharedOf(buffer, pages)
  const { port1: port, port2: theirs } = new MessageChannel()
  const wake = fds.eventfd()
  const { fd: fault, userOnly } = openUserfaultfd()
  const pagemap = openSync('/proc/self/pagemap', 'r')
  const reports: KeeperReport[] = []
  const take = (): Drops | undefined => {
    for (;;) {
      const got = receiveMessageOnPort(port) as { message: FromKeeper } | undefined
      if (got === undefined) return undefined
      if (got.message.kind === 'drops') return got.message
      if (got.message.kind === 'report') reports.push(got.message)
    }
  }
  const post = (message: ToKeeper): void => {
    port.postMessage(message, message.kind === 'epoch' ? [message.inputs.buffer as ArrayBuffer] : [])
    fds.signalEvent(wake)
  }
  const recorder = new Recorder({
    shared,
    points: made.points,
    mutable: made.mutable,
    uffd: fault,
    pagemap,
    post,
    takeDrops: take,
  })
  let worker: Worker | undefined
  const ready = (running: Running): void => {
    recorder.ready(running)
    const data: KeeperData = {
      module: running.module,
      shared: buffer,
      pages,
      uffd: fault,
      base: recorder.base,
      wake,
      points: made.points,
      mutable: made.mutable,
      mostPages: made.mostPages,
      memory: made.memory,
      image: segmentsOf(decode(guest.bytes)),
      budget: options.budget ?? 0,
    }
    worker = startKeeper(data, theirs)
    options.ready?.(running)
  }
  // Also of a guest that can't be started: a keeper that nobody stops holds the process.
  using _keeper = {
    [Symbol.dispose]: () => {
      post({ kind: 'stop' })
      worker?.unref()
      port.close()
      closeSync(pagemap)
    },
  }
  const ending = run(guest, {
    ...options,
    passes: [
      {
        name: `replay-${revision}${frees.length > 0 ? ' released' : ''}`,
        apply: module => instrument(module, new Set(made.copies), new Set(frees)).module,
      },
      ...(options.passes ?? []),
    ],
    imports: { ...recorder.imports, ...options.imports },
    observer: { ...recorder.observer, ...options.observer },
    bounces: userOnly,
    ready,
    keepCode: true,
  })
  recorder.finish()
  const ended = performance.now()
  post({ kind: 'report', within: Math.max(leastAtEnd, mostAtEnd * (performance.now() - began)) })
  while (reports.length === 0) {
    // Pages that the keeper proves now can be dropped now.
    const asked = Atomics.load(shared.control, word.asked)
    if (asked > 0) recorder.dropNow()
    else if (Atomics.wait(shared.control, word.asked, 0, 5) === 'timed-out') expectKeeper(shared, ended)
  }
  return {
    ending,
    explanation: explanationOf(guest, made, took, reports[0] as KeeperReport, recorder.counts),
  }
}

/** A worker that could not start, or ended, is told of by an event, and this thread waits for none. */
function expectKeeper({ control }: Shared, since: number): void {
  const keeper = Atomics.load(control, word.keeper)
  if (keeper > 0 ? existsSync(`/proc/self/task/${keeper}`) : performance.now() < since + longestStart) return
  throw new Error(
    `the thread that proves pages ${keeper > 0 ? 'has ended' : 'did not start'}: there is no report; run the program without --explain`,
  )
}

function refused(guest: Guest, message: string, analysis: Explanation['analysis']): Explanation {
  return { type: 'replay', guest: guest.path, hash: guest.hash, refused: message, analysis }
}

/** Proving goes on for so long (ms), or such a part of the whole time, when the guest has ended: for the report only. */
const leastAtEnd = 5000
const mostAtEnd = 0.2
/** Until the keeper runs, on a busy machine (ms). */
const longestStart = 20_000

/** Part of the key of kept modules. */
const revision = '17'

function startKeeper(data: KeeperData, port: MessagePort): Worker {
  // The build joins this file into one of dist/cli.
  const keeper = `../replay/keeper${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`
  return new Worker(new URL(keeper, import.meta.url), {
    workerData: { data, port },
    transferList: [port],
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })
}

// `userOnly`: system calls can't touch what was dropped.
function openUserfaultfd(): { readonly fd: number; readonly userOnly: boolean } {
  const features = uffd.feature.pagefaultFlagWp | uffd.feature.wpUnpopulated | uffd.feature.wpAsync
  let fd = uffd.create(O_CLOEXEC | O_NONBLOCK)
  const userOnly = fd < 0
  if (userOnly) fd = uffd.create(O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY)
  if (fd < 0) throw new Error(`lethe: no userfaultfd (${fd})`)
  const done = uffd.api(fd, features)
  if (done < 0) throw new Error(`lethe: userfaultfd has no asynchronous write protection (${done})`)
  return { fd, userOnly }
}
