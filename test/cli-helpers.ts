/** Real runs of the command line: bin/lethe as built, and an ordinary program that holds a file. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { randomBytes } from './explain-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

export const root: string = fileURLToPath(new URL('..', import.meta.url))
export const lethe: string = join(root, 'bin/lethe')
export const MiB: number = 1 << 20

/** Why nothing can be attached to here; undefined when it can. */
export function cannotAttach(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'not Linux on x86-64'
  if (process.getuid?.() !== 0) return 'not root'
  return existsSync('/dev/userfaultfd') ? undefined : 'no userfaultfd in this kernel'
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** One folder for a test: state directory, files, and programs that are ended with it. */
export class Desk {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'lethe-cli-'))
  readonly environment: NodeJS.ProcessEnv = { ...process.env, LETHE_STATE: join(this.folder, 'state') }
  readonly #children: ChildProcess[] = []

  /** Runs lethe to its end. */
  run(...words: string[]): Ended {
    const { status, signal, stdout, stderr, error } = spawnSync(lethe, words, {
      env: this.environment,
      encoding: 'utf8',
      timeout: 60_000,
    })
    if (error !== undefined) throw error
    return { code: status, signal, out: stdout, err: stderr }
  }

  /** Starts lethe, or another program. */
  start(command: string, ...words: string[]): ChildProcess {
    const child = spawn(command, words, { env: this.environment, stdio: 'pipe' })
    this.#children.push(child)
    return child
  }

  /** What the pagers of this desk have logged: where a claim fails, why. */
  get logs(): string {
    const state = join(this.folder, 'state')
    return readdirSync(state)
      .filter(name => name.endsWith('.log'))
      .map(name => `${name}: ${readFileSync(join(state, name), 'utf8')}`)
      .join('\n')
  }

  file(name: string, content: string | Uint8Array): string {
    const path = join(this.folder, name)
    writeFileSync(path, content)
    return path
  }

  /** Node that holds `bytes` of a file, and answers each line with their checksum. */
  async holder(bytes: number = 40 * MiB): Promise<Holder> {
    const data = randomBytes(bytes, 7)
    const path = this.file('data', data)
    const script = this.file('hold.cjs', holderScript)
    const holder = new Holder(this.start(process.execPath, script, path), crc32(data))
    await holder.check()
    return holder
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    removeFolder(this.folder)
  }
}

export const holderScript = `
const { crc32 } = require('node:zlib')
const data = require('node:fs').readFileSync(process.argv[2])
require('node:readline').createInterface({ input: process.stdin }).on('line', () => console.log(crc32(data)))
`

export class Holder {
  readonly child: ChildProcess
  readonly expected: number
  readonly #lines: AsyncIterator<string>
  /** `before`: what has read the program's answers so far. */
  constructor(child: ChildProcess, expected: number, before?: Holder) {
    this.child = child
    this.expected = expected
    this.#lines = before
      ? before.#lines
      : createInterface({ input: child.stdout as Readable })[Symbol.asyncIterator]()
  }
  get pid(): number {
    return this.child.pid as number
  }
  /** Lets the program use all its data; throws when its answer is wrong. */
  async check(): Promise<void> {
    const value = await this.ask()
    if (value !== this.expected) throw new Error(`The program says ${value}, right is ${this.expected}`)
  }
  /** What the program says of its data. */
  async ask(): Promise<number> {
    ;(this.child.stdin as Writable).write('\n')
    const { value } = await this.#lines.next()
    return Number(value)
  }
  get anonymous(): number {
    return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024
  }
}

/** The exit code or the signal of a child that ends within a minute. */
export function ended(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${child.spawnargs.join(' ')} has not ended`)), 60_000)
    const done = (code: number | null, signal: NodeJS.Signals | null): void => {
      clearTimeout(timer)
      resolve(code ?? signal)
    }
    if (child.exitCode !== null || child.signalCode !== null) done(child.exitCode, child.signalCode)
    else child.once('exit', done)
  })
}

/** Waits until `look` gives something other than undefined or false, for 20 seconds. */
export async function until<T>(look: () => T | undefined | false, what: string): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const seen = look()
    if (seen !== undefined && seen !== false) return seen
    await new Promise(after => setTimeout(after, 50))
  }
  throw new Error(`Waited in vain for: ${what}`)
}

/** Kills the supervisor and the pager of an attached process, or its sleeper, whichever there is just now. */
export function killLethe({ supervisor, pager }: { supervisor: number; pager: number }): void {
  for (const one of [supervisor, pager])
    try {
      process.kill(one, 'SIGKILL')
    } catch (error) {
      // A sleeper that has just been woken has another successor.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
}
