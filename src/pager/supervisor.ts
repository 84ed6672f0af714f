// The pager's word with its supervisor (bin/lethe-supervisor): as the supervisor restarts a pager that died, so the pager
// replaces a supervisor that died. Whoever wants to stop serving a target detaches.
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { keepFromChildren } from '../sys/fd.ts'

export const supervisorProgram: string = fileURLToPath(new URL('../../bin/lethe-supervisor', import.meta.url))

export class Supervisor {
  readonly #first: number
  /** Whether we were started by one, whose pid this then is: else nobody expects that there is one. */
  readonly wanted: boolean = process.env['LETHE_SUPERVISED'] !== undefined
  readonly #words: readonly string[]
  #other: ChildProcess | undefined

  /** `words`: the pager's own arguments. */
  constructor(words: readonly string[]) {
    // It can have died before we look: our parent is then somebody else.
    this.#first = Number(process.env['LETHE_SUPERVISED'] ?? process.ppid)
    this.#words = words
  }

  /** Its pid; 0: there is none, or it is being replaced. */
  get pid(): number {
    if (this.#other !== undefined) return this.#other.pid ?? 0
    return process.ppid === this.#first ? this.#first : 0
  }

  /** Whether it waits for us as for a child. */
  get isParent(): boolean {
    return this.wanted && this.#other === undefined && process.ppid === this.#first
  }

  /** What starts another supervisor, and with it a pager. */
  get command(): readonly string[] {
    return [
      supervisorProgram,
      ...this.#words,
      process.execPath,
      ...process.execArgv,
      process.argv[1] as string,
    ]
  }

  /** Replaces it if it has died. Called once a second or oftener. */
  beat(): void {
    if (!this.wanted || this.pid !== 0) return
    keepFromChildren()
    const words = ['--after', String(process.pid), ...this.command.slice(1)]
    const child = spawn(supervisorProgram, words, {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
      cwd: '/',
    })
    child.once('error', error => console.error(`lethe: ${supervisorProgram}: ${error.message}`))
    child.once('exit', () => {
      this.#other = undefined
    })
    child.unref()
    this.#other = child
    console.error(`lethe: the supervisor of pager ${process.pid} has died; ${child.pid} takes its place`)
  }

  /** The target has exec'd: leaves word for a supervisor that can't see our exit code. */
  again(directory: string): void {
    if (this.#other !== undefined) writeFileSync(`${directory}.again`, '')
  }
}
