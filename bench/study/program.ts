// A state's program: brought into its state, made to work, ended with all that it started.
import { type ChildProcess, execSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { atEnd } from '../lib/cleanup.ts'
import { sleep } from '../lib/stats.ts'
import { memoryFigures } from '../../src/process/target.ts'
import { inputsFolder } from './inputs.ts'
import type { State } from './state.ts'
import { removeFolder } from '../../src/sys/folder.ts'

/** Milliseconds for a program to be in its state. */
const patience = 120_000
const period = 200

export class Program {
  readonly #state: State
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #forget: () => void
  #answers = 0
  /** The process that is measured. */
  pid = 0

  private constructor(state: State, folder: string) {
    this.#state = state
    this.#folder = folder
    const words = state.command.map(word => this.#fill(word))
    const [command = '', ...rest] = state.terminal
      ? ['script', '-qfc', words.map(quote).join(' '), '/dev/null']
      : words
    // A group of its own, so that all of it can be ended.
    this.#child = spawn(command, rest, {
      cwd: folder,
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
      env: { ...process.env, TERM: 'xterm', LANG: 'C.UTF-8', HOME: folder },
    })
    this.#child.stdin?.on('error', () => {})
    this.#forget = atEnd(() => this.#kill())
    this.#child.on('error', () => {})
    this.#child.stdout?.on('data', () => this.#answers++)
  }

  /** Prepares the state and starts its program; waits until it is in it. */
  static async start(state: State): Promise<Program> {
    const folder = join(tmpdir(), 'lethe-study', state.name)
    removeFolder(folder)
    mkdirSync(folder, { recursive: true })
    const shell = (line: string): void => run(fill(line, folder), folder)
    for (const line of state.setup ?? []) shell(line)
    const program = new Program(state, folder)
    if (state.then !== undefined) {
      await sleep(1000)
      for (const line of state.then) shell(line)
    }
    await program.#settle()
    return program
  }

  /** The files that it has read, as far as the state names them, and its own folder: what the user of Lethe would name. */
  get backings(): string[] {
    const { setup = [], command, then = [] } = this.#state
    const names = [...setup, ...command, ...then].join(' ').matchAll(/\{([\w.-]+)\}/g)
    const inputs = [...new Set(Array.from(names, ([, name = '']) => join(inputsFolder, name)))]
    return [...inputs.filter(path => existsSync(path)), this.#folder]
  }

  #fill(word: string): string {
    return fill(word, this.#folder)
  }

  #find(): number {
    const { process: pattern } = this.#state
    const all = this.#processes()
    const fitting =
      pattern === undefined ? all : all.filter(pid => new RegExp(pattern).test(commandLine(pid)))
    const sizes = fitting.map(pid => [pid, memoryFigures(pid)?.anonymous ?? 0] as const)
    return sizes.toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? 0
  }

  /** What it has started, and what has been started for it: databases work in its folder. */
  #processes(): number[] {
    const own = new Set(descendants(this.#child.pid ?? 0))
    for (const name of readdirSync('/proc'))
      if (/^\d+$/.test(name) && folderOf(name).startsWith(this.#folder)) own.add(Number(name))
    return [...own]
  }

  async #settle(): Promise<void> {
    const { stopAt } = this.#state
    const began = performance.now()
    let before = 0
    for (let same = 0; performance.now() - began < patience; ) {
      await sleep(stopAt === undefined ? period : period / 10)
      this.pid = this.#find()
      const now = memoryFigures(this.pid)?.anonymous ?? 0
      if (stopAt !== undefined) {
        if (now < stopAt * 1e6) continue
        process.kill(this.pid, 'SIGSTOP')
        return
      }
      same = now > 0 && Math.abs(now - before) < 1 << 20 ? same + 1 : 0
      before = now
      // Something is there, stands still for two seconds, and no longer computes.
      if (same >= 10 && cpu(this.pid) < 0.02) return
    }
    throw new Error(`${this.#state.name} was not in its state after ${patience / 1000} s`)
  }

  /** Makes it use what it holds, until it is done; false: nothing is known that would, or it did not answer. */
  async use(): Promise<boolean> {
    const { use } = this.#state
    if (use === undefined) return false
    if (use.shell !== undefined)
      run(fill(use.shell, this.#folder).replaceAll('{pid}', String(this.pid)), this.#folder)
    const before = this.#answers
    this.#child.stdin?.write(use.keys ?? `${use.line ?? ''}\n`)
    if (use.line !== undefined)
      for (const end = performance.now() + patience; this.#answers === before && performance.now() < end; )
        await sleep(100)
    else await sleep(3000)
    return use.line === undefined || this.#answers > before
  }

  end(): void {
    this.#forget()
  }

  #kill(): void {
    for (const line of this.#state.after ?? [])
      try {
        run(fill(line, this.#folder), this.#folder)
      } catch {
        // it has ended by itself
      }
    for (const pid of this.#processes())
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // gone
      }
    removeFolder(this.#folder)
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

function fill(word: string, folder: string): string {
  return word.replaceAll(/\{([\w.-]+)\}/g, (all, name: string) => {
    if (name === 'folder') return folder
    if (name === 'node') return process.execPath
    if (name === 'project') return join(import.meta.dirname, '../..')
    const input = join(inputsFolder, name)
    return existsSync(input) ? input : all
  })
}

function run(line: string, cwd: string): void {
  execSync(line, {
    cwd,
    stdio: 'pipe',
    timeout: patience,
    shell: '/bin/bash',
    env: { ...process.env, HOME: cwd },
  })
}

const folderOf = (pid: string): string => {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}

const commandLine = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** A process and all that it has started. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // gone
    }
  }
  const found = [pid]
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child)
  return found
}

const ticks = new Map<number, number>()
/** CPU seconds since the last call. */
function cpu(pid: number): number {
  let now = 0
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    now = (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    // gone
  }
  const used = now - (ticks.get(pid) ?? 0)
  ticks.set(pid, now)
  return used
}
