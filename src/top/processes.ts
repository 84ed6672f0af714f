/**
 * All processes that we may read, as cheaply as can be: one small file a process and look. What does not change (whose it is, its
 * command) is read once; that a number stands for another process by now is noticed by its start time, which is looked at now and then.
 */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs'
import { commandLine, startTime } from '../process/target.ts'

const PAGE = 4096
/** A process is looked at as a whole again after so many looks. */
const AGAIN = 10

/** Bytes. */
export interface ProcessRow {
  readonly pid: number
  readonly user: string
  readonly command: string
  readonly rss: number
  /** Resident private anonymous memory. */
  readonly anonymous: number
}

interface Known {
  readonly start: number | undefined
  readonly user: string
  readonly command: string
  readonly readable: boolean
  readonly look: number
}

export class Processes {
  readonly #known = new Map<number, Known>()
  readonly #users: ReadonlyMap<number, string> = readUsers()
  #look = 0

  /** Those with memory of their own that we may read; `hidden`: how many we may not. */
  look(): { readonly rows: readonly ProcessRow[]; readonly hidden: number } {
    this.#look++
    const rows: ProcessRow[] = []
    const alive = new Set<number>()
    let hidden = 0
    for (const name of readdirSync('/proc')) {
      const first = name.charCodeAt(0)
      if (first < 48 || first > 57) continue
      const pid = Number(name)
      if (pid === process.pid) continue
      const size = statm(pid)
      // Kernel threads have no memory, and what ends has none any more.
      if (size === undefined || size.rss === 0) continue
      alive.add(pid)
      const known = this.#of(pid)
      if (!known.readable) hidden++
      else rows.push({ pid, user: known.user, command: known.command, ...size })
    }
    for (const pid of this.#known.keys()) if (!alive.has(pid)) this.#known.delete(pid)
    return { rows, hidden }
  }

  #of(pid: number): Known {
    const known = this.#known.get(pid)
    // Not all in the same look.
    if (known !== undefined && known.look + AGAIN + (pid % AGAIN) > this.#look) return known
    const start = startTime(pid)
    const same = known !== undefined && known.start === start && known.command === commandLine(pid)
    const fresh: Known = same
      ? { ...known, look: this.#look }
      : {
          start,
          user: this.#userOf(pid),
          command: commandLine(pid),
          readable: isReadable(pid),
          look: this.#look,
        }
    this.#known.set(pid, fresh)
    return fresh
  }

  #userOf(pid: number): string {
    const uid = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? -1
    return this.#users.get(uid) ?? String(uid)
  }
}

const room = Buffer.alloc(256)

function statm(pid: number): { readonly rss: number; readonly anonymous: number } | undefined {
  try {
    const file = openSync(`/proc/${pid}/statm`, 'r')
    let text: string
    try {
      text = room.toString('latin1', 0, readSync(file, room, 0, room.length, 0))
    } finally {
      closeSync(file)
    }
    const [, resident = 0, shared = 0] = text.split(' ', 3).map(Number)
    return { rss: resident * PAGE, anonymous: (resident - shared) * PAGE }
  } catch {
    return undefined
  }
}

// The right to read memory is asked for when the file is opened.
function isReadable(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    accessSync(`/proc/${pid}/mem`, constants.R_OK)
    readFileSync(`/proc/${pid}/environ`)
    return true
  } catch {
    return false
  }
}

/** Names of users by number. */
export function readUsers(): Map<number, string> {
  const users = new Map<number, string>()
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [name = '', , uid = ''] = line.split(':')
      if (name !== '' && uid !== '' && !users.has(Number(uid))) users.set(Number(uid), name)
    }
  } catch {
    // Numbers will do.
  }
  return users
}
