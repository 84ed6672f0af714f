// A target: a program that loads its data, prints a line, and from then on answers each line on its standard
// input with one line. Targets of benches are in bench/targets and bench/*.c.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { atEnd } from './cleanup.ts'

/** Anonymous memory of a process, bytes. */
export interface Figures {
  readonly rssAnon: number
  readonly swap: number
}

export class Target {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #waiting: ((line: string | undefined) => void) | undefined
  #ended = false
  #forget: () => void

  private constructor(child: ChildProcess) {
    this.#child = child
    this.pid = child.pid as number
    this.#forget = atEnd(() => child.kill('SIGKILL'))
    child.stdin?.on('error', () => {})
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => this.#deliver(line))
    child.on('exit', () => {
      this.#ended = true
      this.#deliver(undefined)
    })
  }

  /** Starts a program and waits for its first line. */
  static async start(command: string, args: readonly (string | number)[]): Promise<Target> {
    const child = spawn(command, args.map(String), { stdio: ['pipe', 'pipe', 'inherit'] })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', () => resolve())
      child.once('error', reject)
    })
    const target = new Target(child)
    target.ready = await target.#line(120_000)
    return target
  }

  /** The first line. */
  ready = ''

  #deliver(line: string | undefined): void {
    if (this.#waiting !== undefined) {
      const waiting = this.#waiting
      this.#waiting = undefined
      waiting(line)
    } else if (line !== undefined) this.#lines.push(line)
  }

  async #line(ms: number): Promise<string> {
    const ready = this.#lines.shift()
    if (ready !== undefined) return ready
    if (this.#ended) throw new Error(`target ${this.pid} has ended`)
    const line = await new Promise<string | undefined>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined
        reject(new Error(`target ${this.pid} has not answered in ${ms / 1000} s`))
      }, ms)
      this.#waiting = got => {
        clearTimeout(timer)
        resolve(got)
      }
    })
    if (line === undefined) throw new Error(`target ${this.pid} has ended`)
    return line
  }

  /** Sends a line and waits for its answer. */
  async ask(line: string, ms = 120_000): Promise<string> {
    this.#child.stdin?.write(`${line}\n`)
    return await this.#line(ms)
  }

  /** The numbers of the answer. */
  async numbers(line: string, ms?: number): Promise<number[]> {
    return (await this.ask(line, ms)).split(/\s+/).map(Number)
  }

  figures(): Figures {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1')
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024
    return { rssAnon: kilobytes('RssAnon'), swap: kilobytes('VmSwap') }
  }

  /** Ends it. */
  async end(): Promise<void> {
    if (!this.#ended) {
      const ended = new Promise<void>(resolve => this.#child.once('exit', () => resolve()))
      this.#child.kill('SIGKILL')
      await ended
    }
    this.#forget()
  }
}
