// What a pager leaves that goes to sleep: `asleep.json`, what it knew, for its successor and for who asks how things are. A successor removes
// it when it can be asked. A sleeper that has been killed leaves it: nobody sleeps then.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryFigures, proportionalSize } from '../process/target.ts'
import type { SeenFile } from '../process/candidates.ts'
import type { Named } from './keeper.ts'
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

const pathOf = (directory: string): string => join(directory, 'asleep.json')

export function writeNap(directory: string, nap: Nap): void {
  const path = pathOf(directory)
  writeFileSync(`${path}.new`, JSON.stringify(nap), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** What a pager left when it went to sleep, whether or not its sleeper lives. */
export function readNap(directory: string): Nap | undefined {
  try {
    return JSON.parse(readFileSync(pathOf(directory), 'utf8')) as Nap
  } catch {
    return undefined
  }
}

/** It is awake. */
export function endNap(directory: string): void {
  rmSync(pathOf(directory), { force: true })
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
