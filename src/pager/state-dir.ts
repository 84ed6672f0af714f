// Where journals and control sockets are: one directory per target, `<state>/<pid>`.
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { startTime } from '../process/target.ts'
import { lockByte, unlockByte } from '../sys/fd.ts'

/** `--state DIR`, $LETHE_STATE, /run/lethe for root, $XDG_RUNTIME_DIR/lethe, /tmp/lethe-UID. */
export function stateDirectory(option?: string): string {
  const given = option ?? process.env['LETHE_STATE']
  if (given !== undefined && given !== '') return given
  const uid = process.getuid?.() ?? 0
  if (uid === 0) return writable('/run') ? '/run/lethe' : '/tmp/lethe-0'
  const runtime = process.env['XDG_RUNTIME_DIR']
  return runtime !== undefined && writable(runtime) ? join(runtime, 'lethe') : `/tmp/lethe-${uid}`
}

function writable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The directory of one target; made, readable only by us, when `make` is set. */
export function targetDirectory(stateDir: string, pid: number, make = false): string {
  const path = join(stateDir, String(pid))
  if (make) mkdirSync(path, { recursive: true, mode: 0o700 })
  return path
}

/** Pids that have a directory. */
export function knownTargets(stateDir: string): number[] {
  try {
    return readdirSync(stateDir)
      .filter(name => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b)
  } catch {
    return []
  }
}

/** Removes the logs of processes that are no more, if their directories are gone. */
export function removeStrays(stateDir: string): void {
  const targets = new Set(knownTargets(stateDir))
  let names: string[] = []
  try {
    names = readdirSync(stateDir)
  } catch {
    // There is none yet.
  }
  for (const name of names) {
    const pid = Number(/^(\d+)\.(log|again)$/.exec(name)?.[1] ?? 0)
    if (pid > 0 && !targets.has(pid) && startTime(pid) === undefined)
      rmSync(join(stateDir, name), { force: true })
  }
}

/**
 * Makes this process the only pager of a target, until it ends; false when another one lives. Waits a little for one that
 * is dying. The owner stands, by pid and start time, in 16 bytes at 16 × pid of `<state>/lock`; byte `pid` is locked
 * only while they are looked at and changed, for a lock would outlive us in the keeper's hands.
 */
export function lockTarget(stateDir: string, pid: number): boolean {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const fd = openSync(join(stateDir, 'lock'), constants.O_RDWR | constants.O_CREAT, 0o600)
  const end = performance.now() + 2000
  try {
    for (;;) {
      if (lockByte(fd, pid) === 0) {
        const other = livingOwner(fd, pid)
        // A sleeper without a supervisor has become ours.
        if (other === undefined || other === process.pid || other === process.ppid) {
          const owner = new Float64Array([process.pid, startTime(process.pid) ?? 0])
          writeSync(fd, owner, 0, 16, 16 * pid)
          return true
        }
        unlockByte(fd, pid)
      }
      if (performance.now() > end) return false
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  } finally {
    closeSync(fd)
  }
}

/** What a pager wrote about itself into its directory. */
export interface PagerRecord {
  readonly pager: number
  readonly supervisor: number
  /** When the target started: with its pid, its identity. */
  readonly start?: number
  readonly options: { budget?: number; backings: string[]; cpu: number }
}

export function readRecord(directory: string): PagerRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, 'pager.json'), 'utf8')) as PagerRecord
  } catch {
    return undefined
  }
}

/** The process that holds a target by `lockTarget`, whether it answers questions yet or not. */
export function targetOwner(stateDir: string, pid: number): number | undefined {
  let fd: number
  try {
    fd = openSync(join(stateDir, 'lock'), constants.O_RDONLY)
  } catch {
    return undefined
  }
  try {
    return livingOwner(fd, pid)
  } finally {
    closeSync(fd)
  }
}

function livingOwner(fd: number, pid: number): number | undefined {
  const owner = new Float64Array(2)
  readSync(fd, owner, 0, 16, 16 * pid)
  const [other = 0, start = 0] = owner
  return other !== 0 && startTime(other) === start ? other : undefined
}
