/**
 * What the safety tests are made of: targets that follow commands and whose every answer can be predicted, and
 * pagers that can be asked, killed and started again.
 *
 * A `Target` keeps a model of the memory that its process must have; `check` compares the process's checksum with the
 * model's. A `Pager` is the real process (src/pager/main.ts), one per target and directory.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Duplex, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import type { PagerStatus, Question } from '../../src/pager/main.ts'
import { randomBytes } from '../explain-helpers.ts'
import { chosen, type MaterialName, material } from './materials.ts'
import { removeFolder } from '../../src/sys/folder.ts'

export const PAGE = 4096
export const MiB: number = 1 << 20
export const root: string = fileURLToPath(new URL('../..', import.meta.url))
const ownNode = join(root, 'node_modules/.bin/node')
/** Node that runs TypeScript: the one that npm scripts find first. */
export const node: string = existsSync(ownNode) ? ownNode : process.execPath

/** Why no test here can run on this machine; undefined when they can. */
export function cannotRun(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'not Linux on x86-64'
  if (process.getuid?.() !== 0) return 'not root'
  if (!existsSync('/dev/userfaultfd')) return 'no userfaultfd in this kernel'
  if (spawnSync('cc', ['--version']).status !== 0) return 'no C compiler (cc)'
  return undefined
}

/** Files of a material. A target loads `file`, which is gone as soon as it has done so if it is not the source itself. */
export interface Stuff {
  readonly name: MaterialName
  readonly file: string
  readonly source: string
  readonly lens?: string
}

/** A temporary directory, what was compiled into it, and everything that was started; `close` ends it all. */
export class Lab {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'lethe-safety-'))
  readonly #closers: (() => void)[] = []
  /** What targets hold instead of the files that `file` made, if their bytes are not the files' own. */
  readonly #contents = new Map<string, string>()
  #next = 0

  /** Compiles test/targets/NAME.c; the path of the program. */
  program(name: string, ...flags: string[]): string {
    const out = join(this.directory, name)
    if (!existsSync(out))
      execFileSync('cc', [
        '-O2',
        '-pthread',
        ...flags,
        '-o',
        out,
        join(root, `test/targets/${name.replace(/-.*/, '')}.c`),
      ])
    return out
  }

  path(name = 'f'): string {
    return join(this.directory, `${name}-${this.#next++}`)
  }

  /** The files of a material: what a target is to load, and what its memory is to be made of. */
  material(name: MaterialName, bytes: number, seed = 1): Stuff {
    const { content, source, lens } = material(name, bytes, seed)
    const path = this.path(name)
    writeFileSync(path, source ?? content)
    const file = source === undefined ? path : `${path}.content`
    if (source !== undefined) writeFileSync(file, content)
    return { name, file, source: path, ...(lens === undefined ? {} : { lens }) }
  }

  /** A new file of random bytes. */
  plain(bytes: number, seed = 1): string {
    const path = this.path('data')
    writeFileSync(path, randomBytes(bytes, seed))
    return path
  }

  /** A new file of random bytes, or of what makes the material that was chosen. */
  file(bytes: number, seed = 1): string {
    if (chosen === 'verbatim') return this.plain(bytes, seed)
    const { file, source } = this.material(chosen, bytes, seed)
    this.#contents.set(source, file)
    return source
  }

  /** Puts back what a target that held `path` had loaded for a moment; returns what takes it away again. */
  reload(path: string, target: Target): () => void {
    const content = this.#contents.get(path)
    if (content === undefined) return () => {}
    copyFileSync(content, target.file)
    return () => rmSync(target.file)
  }

  /** The file that a target is to load for `path`, and whether that is only for a moment. */
  loaded(path: string): { file: string; brief: boolean } {
    const content = this.#contents.get(path)
    if (content === undefined) return { file: path, brief: false }
    const file = this.path('content')
    copyFileSync(content, file)
    return { file, brief: true }
  }

  /** What pagers are told if a test says nothing else: of a material they could not know the file. */
  get options(): LabOptions {
    if (chosen === 'packed') return { pack: true }
    return { backings: [...this.#contents.keys()].filter(path => existsSync(path)) }
  }

  defer(close: () => void): void {
    this.#closers.push(close)
  }

  /** Ends everything that was started. */
  endAll(): void {
    for (const close of this.#closers.splice(0).reverse()) close()
  }

  close(): void {
    this.endAll()
    removeFolder(this.directory)
  }
}

/** Lines of a stream, asked for one by one. */
export class Lines {
  readonly #ready: string[] = []
  readonly #waiting: ((line: string | undefined) => void)[] = []
  #ended = false

  constructor(stream: Readable) {
    const lines = createInterface({ input: stream })
    lines.on('line', line => {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#ready.push(line)
      else waiting(line)
    })
    lines.on('close', () => {
      this.#ended = true
      for (const waiting of this.#waiting.splice(0)) waiting(undefined)
    })
    stream.on('error', () => {})
  }

  /** The next line; undefined at the end. Throws after `ms`. */
  async next(ms = 20_000, what = 'a line'): Promise<string | undefined> {
    const line = this.#ready.shift()
    if (line !== undefined) return line
    if (this.#ended) return undefined
    let timer: NodeJS.Timeout | undefined
    let entry: ((line: string | undefined) => void) | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms: ${what}`)), ms)
    })
    const coming = new Promise<string | undefined>(resolve => {
      entry = resolve
      this.#waiting.push(resolve)
    })
    try {
      return await Promise.race([coming, late])
    } catch (error) {
      const at = entry === undefined ? -1 : this.#waiting.indexOf(entry)
      if (at >= 0) this.#waiting.splice(at, 1)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

/** One place that takes commands: the target itself, or a child that it forked. */
export class Voice {
  readonly pid: () => number
  readonly #write: (text: string) => void
  readonly #lines: Lines

  constructor(pid: () => number, write: (text: string) => void, lines: Lines) {
    this.pid = pid
    this.#write = write
    this.#lines = lines
  }

  /** How it ended, for a message. */
  async ending(): Promise<number | string> {
    return await Promise.resolve('how is not known')
  }

  /** Gives a command without waiting for the answer. */
  tell(command: string): void {
    this.#write(`${command}\n`)
  }

  async answer(what = '', ms = 60_000): Promise<string> {
    let line: string | undefined
    try {
      line = await this.#lines.next(ms, what)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${stuck(this.pid())}`)
    }
    if (line === undefined)
      throw new Error(`process ${this.pid()} has ended (${await this.ending()}); asked: ${what}`)
    return line
  }

  async ask(command: string): Promise<string> {
    this.tell(command)
    return await this.answer(command)
  }

  async number(command: string): Promise<number> {
    return Number(await this.ask(command))
  }
}

/** Where the threads of a process stand: for a report about a hang. */
export function stuck(pid: number): string {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8').trim()
    } catch {
      return ''
    }
  }
  let tids: string[] = []
  try {
    tids = readdirSync(`/proc/${pid}/task`)
  } catch {
    return `process ${pid} is gone`
  }
  const children = tids.flatMap(tid => read(`/proc/${pid}/task/${tid}/children`).split(' ').filter(Boolean))
  const below = children.map(child => `\nchild ${child}:\n${stuck(Number(child))}`)
  const own = tids
    .slice(0, 12)
    .map(tid => {
      const at = `/proc/${pid}/task/${tid}`
      const state = /^State:\s*(.*)$/m.exec(read(`${at}/status`))?.[1] ?? ''
      return `${tid} ${state} wchan=${read(`${at}/wchan`)} syscall=${read(`${at}/syscall`)}\n${read(`${at}/stack`)}`
    })
    .join('\n')
  return own + below.join('')
}

/** How a target holds its data; see test/targets/target.c. */
export type Mode = 'mmap' | 'huge' | 'malloc' | 'brk' | 'locked'

/** The C target with its model. */
export class Target extends Voice {
  readonly process: ChildProcess
  readonly file: string
  /** Bytes into the first page at which the file's bytes begin. */
  readonly shift: number
  base: number
  /** What the memory from `base` on must hold; bytes below `from` are the allocator's. */
  memory: Buffer
  readonly from: number
  readonly children: Voice[] = []

  private constructor(child: ChildProcess, lines: Lines, file: string, ready: string, mode: Mode) {
    super(
      () => child.pid ?? 0,
      text => child.stdin?.write(text),
      lines,
    )
    this.process = child
    this.file = file
    const [, base, shift, length] = ready.split(' ')
    this.base = Number(base)
    this.shift = Number(shift)
    this.memory = Buffer.alloc(Number(length))
    readFileSync(file).copy(this.memory, this.shift)
    this.from = mode === 'malloc' ? this.shift : 0
    for (let i = 0; i < 6; i++) {
      const stream = child.stdio[3 + i] as Duplex
      stream.on('error', () => {})
      this.children.push(
        new Voice(
          () => 0,
          text => stream.write(text),
          new Lines(stream),
        ),
      )
    }
  }

  static async start(
    lab: Lab,
    file: string,
    mode: Mode = 'mmap',
    wrap: readonly string[] = [],
  ): Promise<Target> {
    const { file: loaded, brief } = lab.loaded(file)
    const words = [...wrap, lab.program('target'), loaded, mode]
    const child = spawn(words[0] as string, words.slice(1), {
      stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    })
    lab.defer(() => child.kill('SIGKILL'))
    child.stdin?.on('error', () => {})
    const lines = new Lines(child.stdout as Readable)
    const ready = await lines.next(10_000, 'ready')
    if (ready === undefined || !ready.startsWith('ready')) throw new Error(`the target said ${ready}`)
    const target = new Target(child, lines, loaded, ready, mode)
    if (brief) rmSync(loaded)
    return target
  }

  /** Starts one that holds a material; only the source of it is left then. */
  static async of(lab: Lab, stuff: Stuff, mode: Mode = 'mmap'): Promise<Target> {
    const target = await Target.start(lab, stuff.file, mode)
    if (stuff.file !== stuff.source) rmSync(stuff.file)
    return target
  }

  get length(): number {
    return this.memory.length
  }

  /** What the checksum of a range must be. */
  predicted(from: number = this.from, length: number = this.length - this.from): number {
    return crc32(this.memory.subarray(from, from + length))
  }

  /** The process's checksum, and what it must be. */
  async sums(from: number = this.from, length: number = this.length - this.from): Promise<[number, number]> {
    return [await this.number(`sum ${from} ${length}`), this.predicted(from, length)]
  }

  /** Throws when the process's memory is not what it must be; says where. */
  async check(voice: Voice = this): Promise<void> {
    const length = this.length - this.from
    const got = await voice.number(`sum ${this.from} ${length}`)
    if (got === this.predicted()) return
    const wrong: string[] = []
    for (let at = this.from; at < this.length && wrong.length < 8; at += PAGE) {
      const n = Math.min(PAGE, this.length - at)
      if ((await voice.number(`sum ${at} ${n}`)) !== this.predicted(at, n)) wrong.push(`+${at / PAGE}`)
    }
    throw new Error(`wrong bytes in process ${this.pid()}, pages ${wrong.join(' ')} of ${length / PAGE}`)
  }

  /** Has a pattern written, here and there. */
  async fill(from: number, length: number, seed: number): Promise<void> {
    pattern(this.memory.subarray(from, from + length), seed)
    await this.ask(`fill ${from} ${length} ${seed}`)
  }

  /** The n-th child's voice, after `fork`. */
  async fork(by: Voice = this, n = 0): Promise<Voice> {
    const pid = Number(await by.ask('fork'))
    const child = this.children[n] as Voice
    Object.assign(child, { pid: () => pid })
    return child
  }

  override async ending(): Promise<number | string> {
    return await this.ended()
  }

  /** Waits for the end; the exit code, or the name of the signal. */
  async ended(): Promise<number | string> {
    const { exitCode, signalCode } = this.process
    if (exitCode !== null) return exitCode
    if (signalCode !== null) return signalCode
    return await new Promise(resolve =>
      this.process.once('exit', (code, signal) => resolve(code ?? signal ?? 0)),
    )
  }
}

/** The pattern of the targets' `fill`. */
export function pattern(into: Uint8Array, seed: number): void {
  for (let i = 0; i < into.length; i++) into[i] = (seed + i * 31 + (i >> 8)) & 255
}

/** The pager's first line. */
export interface FirstLine {
  type: 'serving' | 'refused'
  code?: string
  message?: string
  adopted?: boolean
}

/** What a pager of a test is told. */
export interface LabOptions {
  readonly backings?: readonly string[]
  readonly cpu?: number
  readonly budget?: number
  readonly pack?: boolean
}

/** A pager process. */
export class Pager {
  readonly process: ChildProcess
  readonly directory: string
  readonly target: number
  readonly #lines: Lines
  #errors = ''

  constructor(child: ChildProcess, directory: string, target: number) {
    this.process = child
    this.directory = directory
    this.target = target
    this.#lines = new Lines(child.stdout as Readable)
    child.stderr?.on('data', (text: Buffer) => {
      this.#errors += text.toString()
    })
  }

  /** Starts a pager; what it says first is for `first`. */
  static spawn(
    lab: Lab,
    target: number,
    options: LabOptions = {},
    directory: string = lab.path(`state-${target}`),
  ): Pager {
    const words = ['--expose-gc', join(root, 'src/pager/main.ts'), directory, String(target)]
    const child = spawn(
      node,
      [...words, JSON.stringify({ backings: [], cpu: 0.05, ...lab.options, ...options })],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, XDG_CACHE_HOME: join(lab.directory, 'cache') },
      },
    )
    lab.defer(() => child.kill('SIGKILL'))
    return new Pager(child, directory, target)
  }

  /** Starts one and waits until it serves. */
  static async start(lab: Lab, target: number, options: LabOptions = {}, directory?: string): Promise<Pager> {
    const pager = Pager.spawn(lab, target, options, directory)
    const first = await pager.first()
    if (first.type !== 'serving') throw new Error(`the pager refused: ${first.message}`)
    return pager
  }

  /** Starts one and waits for its first pass; checks that it dropped at least `least` bytes. */
  static async dropped(lab: Lab, target: number, least: number, options: LabOptions = {}): Promise<Pager> {
    const pager = await Pager.start(lab, target, options)
    let status = await pager.ask('settled')
    // On a busy machine the threads may not have stopped in time.
    for (let i = 0; i < 5 && status.virtual < least; i++) status = await pager.ask('pass')
    if (status.virtual < least)
      throw new Error(
        `only ${status.virtual} of ${least} bytes became virtual: ${JSON.stringify(status)}\n${pager.errors}`,
      )
    return pager
  }

  /** What it wrote to stderr. */
  get errors(): string {
    return this.#errors
  }

  async first(ms = 60_000): Promise<FirstLine> {
    const ended = this.ended().then(
      () => new Promise<undefined>(resolve => setTimeout(resolve, 100, undefined)),
    )
    const line = await Promise.race([this.#lines.next(ms, 'the pager’s first line'), ended])
    if (line === undefined) throw new Error(`the pager ended without a word: ${this.#errors}`)
    return JSON.parse(line) as FirstLine
  }

  async ask(
    ask: Question['ask'],
    ms: number = chosen === 'verbatim' ? 30_000 : 120_000,
  ): Promise<PagerStatus> {
    const asked = question(join(this.directory, 'control.sock'), ask, ms, () => this.#errors)
    // Its keeper holds the socket after its death.
    const died = this.ended().then(() => new Promise(resolve => setTimeout(resolve, 100)))
    const status = await Promise.race([asked, died])
    asked.catch(() => {})
    if (status === undefined)
      throw new Error(`the pager ended instead of answering '${ask}': ${this.#errors}`)
    return status as PagerStatus
  }

  /** Detaches, waits for the end; throws when it says no. */
  async detach(): Promise<void> {
    const answer = (await this.ask('detach')) as unknown as { type: string; message?: string }
    if (answer.type !== 'detached') throw new Error(`not detached: ${answer.message}\n${this.#errors}`)
    await this.ended()
  }

  async ended(): Promise<number | string> {
    const { exitCode, signalCode } = this.process
    if (exitCode !== null) return exitCode
    if (signalCode !== null) return signalCode
    return await new Promise(resolve =>
      this.process.once('exit', (code, signal) => resolve(code ?? signal ?? 0)),
    )
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.ended()
  }

  /** A successor, in the same directory. */
  async again(lab: Lab, options: LabOptions = {}): Promise<Pager> {
    return await Pager.start(lab, this.target, options, this.directory)
  }

  /** A 64-bit word of the journal's header, as a number; 0 before there is one. */
  header(word: number): number {
    return journalWord(this.directory, word)
  }
}

/** Word 18 and 19 of a journal's header: start and length of the scratch range of a drop in progress. */
export function journalWord(directory: string, word: number): number {
  try {
    const fd = openSync(join(directory, 'journal'), 'r')
    const bytes = Buffer.alloc(8)
    readSync(fd, bytes, 0, 8, word * 8)
    closeSync(fd)
    return bytes.readDoubleLE(0)
  } catch {
    return 0
  }
}

function question(path: string, ask: string, ms: number, why: () => string): Promise<object> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the pager did not answer '${ask}' within ${ms} ms: ${why()}`))
    }, ms)
    let text = ''
    socket.on('data', chunk => {
      text += chunk.toString()
      if (!text.endsWith('\n')) return
      clearTimeout(timer)
      socket.end()
      resolve(JSON.parse(text) as object)
    })
    socket.on('error', error => {
      clearTimeout(timer)
      reject(new Error(`the pager can't be asked '${ask}': ${error.message}: ${why()}`))
    })
    socket.on('close', () => {
      clearTimeout(timer)
      reject(new Error(`the pager ended instead of answering '${ask}': ${why()}`))
    })
    socket.write(`${JSON.stringify({ ask })}\n`)
  })
}

/** Polls until `condition` holds; throws after `ms`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 15_000,
): Promise<void> {
  const end = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** The shape of a process: what a detach must leave as it was. */
export function shape(pid: number): { maps: string[]; fds: string[]; tasks: string[] } {
  return {
    maps: readFileSync(`/proc/${pid}/maps`, 'utf8').trim().split('\n'),
    fds: readdirSync(`/proc/${pid}/fd`).map(fd => `${fd} ${readlinkSync(`/proc/${pid}/fd/${fd}`)}`),
    tasks: readdirSync(`/proc/${pid}/task`),
  }
}

/** A figure of /proc/PID/status in bytes. */
export function figure(pid: number, name: string): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? 0) * 1024
}

/** Any program as a target: lines in, lines out. */
export function run(
  lab: Lab,
  command: string,
  words: readonly string[],
  options: { cwd?: string } = {},
): { process: ChildProcess; voice: Voice } {
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'], ...options })
  lab.defer(() => child.kill('SIGKILL'))
  child.stdin?.on('error', () => {})
  const voice = new Voice(
    () => child.pid ?? 0,
    text => child.stdin?.write(text),
    new Lines(child.stdout as Readable),
  )
  return { process: child, voice }
}

export function makeDirectory(path: string): string {
  mkdirSync(path, { recursive: true })
  return path
}

export const folderOf: (path: string) => string = dirname
