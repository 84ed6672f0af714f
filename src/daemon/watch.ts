/**
 * Processes that a policy is about, found among many that come and go: one small read a process and look, more only for those that are
 * large enough. A decision is remembered with the process's start time, so it never falls on another with the same number.
 *
 * Who has lived long will live on, and who is young may end at once: to attach to a process that ends soon is work for nothing. So a
 * program whose process ended young, at age A, is believed from then on only in processes older than 2 A.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs'
import { basename, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startTime } from '../process/target.ts'
import { readUsers } from '../top/processes.ts'
import { type Policy, type Rule, ruleFor, type Traits } from './policy.ts'

const PAGE = 4096
/** Of the clock in which start times are told. */
const TICKS = 100
/** Seconds: who has lived as long as this is not young. */
const GROWN = 900

/** A process that is to be attached to. */
export interface Wanted {
  readonly pid: number
  readonly start: number
  readonly rule: Rule
  /** Which program it is, for `endedYoung`. */
  readonly program: string
  /** Bytes of anonymous memory. */
  readonly anonymous: number
}

export class Watch {
  readonly #users: ReadonlyMap<number, string> = readUsers()
  /** Start times of processes that are decided on, by pid: nothing more is asked about them. */
  readonly #decided = new Map<number, number>()
  readonly #later = new Map<number, number>()
  /** Seconds that a process of a program must have lived, where that is more than the policy says. */
  readonly #ages = new Map<string, number>()
  readonly #room = Buffer.alloc(512)
  readonly #own: string = fileURLToPath(new URL('..', import.meta.url))

  /** Nothing more is to be done about this process. */
  decide(pid: number, start: number): void {
    this.#decided.set(pid, start)
  }

  /** To be asked about again after some seconds. */
  put(pid: number, seconds: number): void {
    this.#later.set(pid, performance.now() + seconds * 1000)
  }

  /** Whether it is there still, and old enough for what its program has shown. */
  stands({ pid, start, program }: Wanted, up: number = uptime()): boolean {
    return startTime(pid) === start && up - start / TICKS >= (this.#ages.get(program) ?? 0)
  }

  /** A process of this program has ended before it was worth the attach, started at `start`. */
  endedYoung(program: string, start: number): void {
    const age = uptime() - start / TICKS
    if (age < GROWN) this.#ages.set(program, Math.max(2 * age, this.#ages.get(program) ?? 0))
  }

  /** Forgets all decisions: the policy is another. */
  forget(): void {
    this.#decided.clear()
    this.#later.clear()
    this.#ages.clear()
  }

  /** Those to be attached to, the largest first. `skip`: those that are attached. */
  look(policy: Policy, skip: ReadonlySet<number>): Wanted[] {
    const wanted: Wanted[] = []
    const alive = new Set<number>()
    const now = performance.now()
    const up = uptime()
    for (const name of readdirSync('/proc')) {
      const first = name.charCodeAt(0)
      if (first < 48 || first > 57) continue
      const pid = Number(name)
      alive.add(pid)
      if (pid === 1 || pid === process.pid || skip.has(pid) || (this.#later.get(pid) ?? 0) > now) continue
      const anonymous = this.#anonymous(pid)
      if (anonymous < policy.minimum) continue
      const start = startTime(pid)
      if (start === undefined || this.#decided.get(pid) === start) continue
      const age = up - start / TICKS
      if (age < policy.settle) continue
      const traits = this.#traits(pid)
      const rule = traits === undefined ? undefined : ruleFor(policy, traits)
      if (rule === undefined || rule === 'never') {
        this.decide(pid, start)
        continue
      }
      const one = { pid, start, rule, program: traits?.commands[0] ?? '', anonymous }
      if (this.stands(one, up)) wanted.push(one)
    }
    for (const known of [this.#decided, this.#later])
      for (const pid of known.keys()) if (!alive.has(pid)) known.delete(pid)
    return wanted.sort((a, b) => b.anonymous - a.anonymous)
  }

  /** The rule for a process, whatever its size and age. */
  ruleOf(policy: Policy, pid: number): Rule | undefined {
    const traits = this.#traits(pid)
    const rule = traits === undefined ? undefined : ruleFor(policy, traits)
    return rule === 'never' ? undefined : rule
  }

  #anonymous(pid: number): number {
    try {
      const file = openSync(`/proc/${pid}/statm`, 'r')
      try {
        const text = this.#room.toString('latin1', 0, readSync(file, this.#room, 0, this.#room.length, 0))
        const [, resident = 0, shared = 0] = text.split(' ', 3).map(Number)
        return (resident - shared) * PAGE
      } finally {
        closeSync(file)
      }
    } catch {
      return 0
    }
  }

  // Undefined: it is gone, or one of ours.
  #traits(pid: number): Traits | undefined {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (words.some(word => word.startsWith(this.#own) || word.includes(`${sep}lethe-supervisor`)))
        return undefined
      const commands = new Set([basename(words[0] ?? ''), readFileSync(`/proc/${pid}/comm`, 'utf8').trim()])
      try {
        commands.add(basename(readlinkSync(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, ''))
      } catch {
        // Not ours to read; attach will say so.
      }
      const uid = statSync(`/proc/${pid}`).uid
      const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
        .split('\n')
        .filter(line => line !== '')
        .map(line => line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1))
      return { commands: [...commands], users: [this.#users.get(uid) ?? '', String(uid)], cgroups }
    } catch {
      return undefined
    }
  }
}

/** Seconds since the machine was started. */
const uptime = (): number => Number.parseFloat(readFileSync('/proc/uptime', 'latin1'))
