// Starting pagers, and finding those that run.
//
//   start → supervisor (bin/lethe-supervisor, a shell, in a session of its own) → pager (main.js)
//
// The first line of the pager's standard output says what became of it. `kill -9` of any of them, at any moment: the
// target's directory stays, and the next `start` makes a pager that adopts. Two starts at once: the pager holds a
// lock (main.ts), the loser is refused as `busy` and its supervisor ends; whoever started it waits for the winner's.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ProcessError, type ProcessErrorCode } from '../process/errors.ts'
import { heir } from '../process/heir.ts'
import { checkTarget, startTime } from '../process/target.ts'
import { keepFromChildren } from '../sys/fd.ts'
import { type Answer, ask, socketPath } from './client.ts'
import type { PagerOptions } from './controller.ts'
import { PagerError } from './errors.ts'
import { parkOf } from './journal-file.ts'
import type { PagerStatus } from './main.ts'
import { readNap } from './nap.ts'
import {
  knownTargets,
  readRecord,
  removeStrays,
  stateDirectory,
  targetDirectory,
  targetOwner,
} from './state-dir.ts'
import { supervisorProgram } from './supervisor.ts'
import { removeFolder } from '../sys/folder.ts'

/** What makes node small. Measured as Pss of an idle pager: see docs/how-it-works.md. */
const nodeFlags = ['--expose-gc', '--max-semi-space-size=1', '--v8-pool-size=0']

export interface StartOptions extends Partial<PagerOptions> {
  /** --state; see `stateDirectory`. */
  readonly state?: string | undefined
  /** Give the pager our own standard error instead of its log. */
  readonly verbose?: boolean
}

/** A pager that answers. */
export interface Pager {
  readonly pid: number
  readonly directory: string
  /** It ran already; `options` were not looked at. */
  readonly found: boolean
  /** It took over from one that died. */
  readonly adopted: boolean
  /** Undefined when no pager is there any more; rejects with PagerError. */
  ask(question: Parameters<typeof ask>[1], ms?: number): Promise<Answer | undefined>
  status(ms?: number): Promise<PagerStatus | undefined>
  /** Resolves when it sleeps, or after `ms`: it may have something to do. Wakes nobody, and keeps nobody awake. */
  asleep(ms: number): Promise<void>
}

type FirstLine =
  | { type: 'serving'; pid: number; adopted: boolean; pager: number }
  | { type: 'waiting'; pid: number; pager: number }
  | { type: 'refused'; code: string; message: string }

function pagerAt(directory: string, pid: number, found: boolean, adopted: boolean): Pager {
  const question = (q: Parameters<typeof ask>[1], ms = 10_000): Promise<Answer | undefined> =>
    ask(directory, q, ms)
  return {
    pid,
    directory,
    found,
    adopted,
    ask: question,
    status: async (ms = 10_000) => {
      const answer = await question({ ask: 'status' }, ms)
      return answer?.type === 'status' ? answer : undefined
    },
    asleep: async ms => {
      for (const end = performance.now() + ms; performance.now() < end && readNap(directory) === undefined; )
        await new Promise(after => setTimeout(after, 20))
    },
  }
}

/** The living pager of a process, or undefined. */
export async function findPager(pid: number, state?: string): Promise<Pager | undefined> {
  const directory = targetDirectory(stateDirectory(state), pid)
  const answer = await ask(directory, { ask: 'status' }, 10_000)
  return answer === undefined
    ? undefined
    : pagerAt(directory, pid, true, answer.type === 'status' && answer.adopted)
}

/**
 * Finds the pager of a process or starts one, which adopts what a dead one left. Throws ProcessError when the target can't be served
 * and PagerError when the pager fails; the target is then as it was.
 */
export async function startPager(pid: number, options: StartOptions = {}): Promise<Pager> {
  const found = await findPager(pid, options.state)
  if (found !== undefined) return found
  const stateDir = resolve(stateDirectory(options.state))
  const directory = targetDirectory(stateDir, pid)
  socketPath(directory)
  // One that was served before is still registered, so it can't be checked as if it were new.
  try {
    if (readRecord(directory) === undefined) checkTarget(pid, options.waitFor === undefined)
  } catch (error) {
    // It may be in the hands of a pager that another start has just made: traced, stopped, registered.
    const other = await begun(pid, stateDir)
    if (other !== undefined) return other
    throw error
  }
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const first = await launch(pid, directory, options)
  if (first.type !== 'refused')
    return pagerAt(directory, pid, false, first.type === 'serving' && first.adopted)
  if (first.code === 'busy') {
    const other = await begun(pid, stateDir)
    if (other !== undefined) return other
  }
  const known: readonly string[] = ['refused', 'gone', 'traced', 'lost', 'busy'] satisfies ProcessErrorCode[]
  if (known.includes(first.code)) throw new ProcessError(first.code as ProcessErrorCode, first.message)
  throw new PagerError('target', first.message)
}

// The pager that another start makes of a process at this moment, once it answers; undefined when there is none (any
// more), or it has not got as far in a minute.
async function begun(pid: number, stateDir: string): Promise<Pager | undefined> {
  for (const end = performance.now() + 60_000; ; ) {
    // Asked first: the one that is found may have begun to answer since.
    const owner = targetOwner(stateDir, pid)
    const found = await findPager(pid, stateDir)
    if (found !== undefined || owner === undefined || performance.now() > end) return found
    await new Promise(after => setTimeout(after, 100))
  }
}

function launch(pid: number, directory: string, options: StartOptions): Promise<FirstLine> {
  const here = fileURLToPath(import.meta.url)
  const program = fileURLToPath(new URL(`./main${here.slice(-3)}`, import.meta.url))
  const { state: _, verbose, ...given } = options
  const pagerOptions: PagerOptions = {
    ...given,
    backings: (options.backings ?? []).map(path => resolve(path)),
    cpu: options.cpu ?? 0.05,
  }
  // Beside the directory, not in it: a target that is refused has no directory.
  const logPath = `${directory}.log`
  const log = verbose ? 2 : openSync(logPath, 'a', 0o600)
  const words = [
    directory,
    String(pid),
    JSON.stringify(pagerOptions),
    process.execPath,
    ...nodeFlags,
    program,
  ]
  // It lives on: a pipe of the caller's must not stay open with it.
  keepFromChildren()
  const child = spawn(supervisorProgram, words, { stdio: ['ignore', 'pipe', log], detached: true, cwd: '/' })
  const output = child.stdout as Readable
  if (!verbose) closeSync(log)
  return new Promise((settle, reject) => {
    child.once('error', error =>
      reject(new PagerError('target', `${supervisorProgram} can't be started: ${error.message}`)),
    )
    const lines = createInterface({ input: output })
    lines.once('line', line => {
      const first = JSON.parse(line) as FirstLine
      output.destroy()
      child.unref()
      if (first.type === 'refused' && !verbose) rmSync(logPath, { force: true })
      settle(first)
    })
    child.once('exit', code => {
      // Its line may still be in the pipe.
      setTimeout(
        () => reject(new PagerError('target', `The pager ended with code ${code}; see ${logPath}`)),
        200,
      )
    })
  })
}

/** One directory of the state directory, as it is now. */
export interface Attached {
  readonly pid: number
  readonly directory: string
  /** Undefined: the pager is dead. */
  readonly answer: Answer | undefined
  readonly log: string
}

/** All targets that have a directory. What ended processes left is removed. */
export async function listPagers(state?: string): Promise<Attached[]> {
  const stateDir = stateDirectory(state)
  removeStrays(stateDir)
  const all = knownTargets(stateDir).map(async (pid): Promise<Attached[]> => {
    const directory = targetDirectory(stateDir, pid)
    const answer = await ask(directory, { ask: 'status' }, 5000).catch(() => undefined)
    const started = startTime(pid)
    const record = readRecord(directory)
    const park = parkOf(join(directory, 'journal'))
    const ended = started === undefined || (record?.start ?? started) !== started
    // Children that it left may still wait for a pager.
    if (answer === undefined && ended && (park === undefined || heir(park) === undefined)) {
      removeFolder(directory)
      rmSync(`${directory}.log`, { force: true })
      return []
    }
    return [{ pid, directory, answer, log: `${directory}.log` }]
  })
  return (await Promise.all(all)).flat()
}
