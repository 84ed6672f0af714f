// Lethe as a user starts it, and the few questions to its pager that only a bench asks.
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ask } from '../../src/pager/client.ts'
import type { PagerStatus, Question } from '../../src/pager/main.ts'
import { atEnd } from './cleanup.ts'
import { removeFolder } from '../../src/sys/folder.ts'

export const lethe: string = join(import.meta.dirname, '../../bin/lethe')

/** Our own state directory: nobody else's pagers are seen, and all of ours are ended with the bench. */
let state: string | undefined
const attached = new Set<number>()

export function ownState(): string {
  if (state !== undefined) return state
  const made = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
  state = made
  atEnd(() => {
    for (const pid of attached)
      spawnSync(lethe, ['detach', String(pid), '--state', made], { stdio: 'ignore', timeout: 60_000 })
    removeFolder(made)
  })
  return made
}

export class Attachment {
  readonly pid: number
  /** After the first pass. */
  readonly first: PagerStatus

  constructor(pid: number, first: PagerStatus) {
    this.pid = pid
    this.first = first
  }

  async #ask(question: Question): Promise<PagerStatus> {
    const answer = await ask(join(ownState(), String(this.pid)), question, 120_000)
    if (answer?.type !== 'status') throw new Error(`no pager serves ${this.pid}`)
    return answer
  }

  status(): Promise<PagerStatus> {
    return this.#ask({ ask: 'status' })
  }

  /** Drops everything that is explained and resident. */
  drop(): Promise<PagerStatus> {
    return this.#ask({ ask: 'drop' })
  }

  async detach(): Promise<void> {
    await ask(join(ownState(), String(this.pid)), { ask: 'detach' }, 120_000)
    attached.delete(this.pid)
  }

  /** The target has been ended by us. */
  forget(): void {
    attached.delete(this.pid)
  }
}

/** `lethe attach PID --once`, with more options. */
export async function attach(pid: number, options: readonly string[] = []): Promise<Attachment> {
  attached.add(pid)
  const words = ['attach', String(pid), '--once', '--json', '--state', ownState(), ...options]
  const { stdout } = await promisify(execFile)(lethe, words, { timeout: 120_000 })
  return new Attachment(pid, { ...(JSON.parse(stdout) as PagerStatus), type: 'status' })
}

/** Kilobyte fields of /proc/PID/smaps_rollup, as bytes; empty when the process is gone. */
export function rollup(pid: number): Map<string, number> {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
    return new Map([...text.matchAll(/^(\w+):\s+(\d+) kB/gm)].map(m => [m[1] as string, Number(m[2]) * 1024]))
  } catch {
    return new Map()
  }
}

/** CPU seconds that a process has used. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
