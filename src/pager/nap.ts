// What a pager leaves that goes to sleep: `asleep.json`, what it knew, for its successor and for who asks how things are; and `asleep`, one
// line for the supervisor (bin/lethe-supervisor):
//
//   SLEEPER MOST SOME SECONDS    its pid; the pages of anonymous memory from which on it is woken at once, or after two minutes; the
//                                seconds after which it is woken in any case (0: never)
//
// A successor removes the line when it begins, and the rest when it can be asked. A sleeper that has been killed leaves both: nobody sleeps then,
// and the pager is dead.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryFigures, proportionalSize } from '../process/target.ts'
import type { SeenFile } from '../process/candidates.ts'
import { keeps, type Named } from './keeper.ts'
import type { PagerStatus } from './main.ts'
import type { PassesState } from './passes.ts'

export interface Nap {
  readonly sleeper: Named
  /** When it began: milliseconds of the system's clock. */
  readonly at: number
  /** How long nothing had to happen before it, milliseconds. */
  readonly calm: number
  /** How often the target had wanted something. */
  readonly wanted: number
  readonly status: PagerStatus
  readonly passes: PassesState
  /** Files that were seen opened or were named. */
  readonly files: readonly SeenFile[]
}

/** When a nap ends even if nobody wants anything. */
export interface Alarm {
  /** Bytes of anonymous memory. */
  readonly most: number
  readonly some: number
  readonly seconds: number
}

const paths = (directory: string): [string, string] => [
  join(directory, 'asleep'),
  join(directory, 'asleep.json'),
]

export function writeNap(directory: string, nap: Nap, alarm: Alarm): void {
  const [line, document] = paths(directory)
  writeFileSync(document, JSON.stringify(nap), { mode: 0o600 })
  const pages = (bytes: number): number => Math.ceil(bytes / 4096)
  const text = `${nap.sleeper.pid} ${pages(alarm.most)} ${pages(alarm.some)} ${alarm.seconds}\n`
  writeFileSync(`${line}.new`, text, { mode: 0o600 })
  renameSync(`${line}.new`, line)
}

/** What a pager left when it went to sleep, whether or not its sleeper lives. */
export function readNap(directory: string): Nap | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, 'asleep.json'), 'utf8')) as Nap
  } catch {
    return undefined
  }
}

/** Whether it still sleeps. */
export const sleeps = (directory: string, nap: Nap): boolean =>
  existsSync(paths(directory)[0]) && keeps(nap.sleeper)

/** It is waking up. */
export function wakeUp(directory: string): void {
  rmSync(paths(directory)[0], { force: true })
}

/** It is awake. */
export function endNap(directory: string): void {
  for (const path of paths(directory)) rmSync(path, { force: true })
}

/** How things are while it sleeps: as they were, for what changes them wakes it. */
export function statusOf(nap: Nap): PagerStatus {
  const { status, sleeper } = nap
  const sizes = [sleeper.pid, status.supervisor].filter(pid => pid > 1).map(proportionalSize)
  return {
    ...status,
    asleep: true,
    pager: sleeper.pid,
    now: memoryFigures(status.pid) ?? { rss: 0, anonymous: 0, swap: 0 },
    seconds: status.seconds + (Date.now() - nap.at) / 1000,
    own: status.packs + status.recipes + sizes.reduce((sum, n) => sum + n, 0),
  }
}
