// What a pager leaves that goes to sleep: `asleep.json`, what it knew, for its successor and for who asks how things are. A successor removes
// it when it can be asked. A sleeper that has been killed leaves it: nobody sleeps then.
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { memoryFigures, proportionalSize } from '../process/target.ts'
import type { SeenFile } from '../process/candidates.ts'
import type { Named } from './keeper.ts'
import type { PagerStatus } from './main.ts'
import type { PassesState } from './passes.ts'
import type { KnownPrice } from './prices.ts'

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
  /** Of the backings; missing: a predecessor's version had none. */
  readonly prices?: readonly KnownPrice[]
}

const pathOf = (directory: string): string => join(directory, 'asleep.json')

/** Bytes by which what is written can be longer than what room was made for: numbers grow. */
const slack = 4096

/**
 * Makes room for what is written a moment later, when there is no way back: a full disk is noticed while the pager can still stay
 * awake. Throws what the disk says.
 */
export function makeRoomForNap(directory: string, nap: Nap): void {
  const path = `${pathOf(directory)}.new`
  try {
    writeFileSync(path, JSON.stringify(nap) + ' '.repeat(slack), { mode: 0o600 })
  } catch (error) {
    try {
      rmSync(path, { force: true })
    } catch {
      // what stands there is not ours
    }
    throw error
  }
}

/** Writes it where there is room for it. */
export function writeNap(directory: string, nap: Nap): void {
  const path = pathOf(directory)
  // Over what is there: blocks that it has can't be refused. White space behind a document is none of it.
  const file = openSync(`${path}.new`, 'r+')
  try {
    const text = Buffer.from(JSON.stringify(nap))
    const { size } = fstatSync(file)
    const whole = Buffer.alloc(Math.max(size, text.length), ' ')
    text.copy(whole)
    writeSync(file, whole, 0, whole.length, 0)
  } finally {
    closeSync(file)
  }
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
