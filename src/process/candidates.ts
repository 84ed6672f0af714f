/**
 * Files that a process's memory may have been copied from.
 *
 * First tier, without looking at memory: what the user names, what the caller has seen opened, open
 * descriptors, mapped files, paths on the command line (whole arguments, and paths inside one), paths in script files
 * that the command line names, environment values. Second tier, when much is still unexplained: absolute paths found
 * in the process's own memory, and the files of its working directory.
 *
 * Regular files only, nothing in /proc, /sys or /dev, no core dumps but by name, each device:inode once, the likely and large ones first.
 */
import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { join, resolve } from 'node:path'
import { identityOf } from '../backing/file.ts'
import type { Candidate } from '../explain/pool.ts'
import type { SearchKernel } from '../kernels/index.ts'
import { type Mapping, readMaps } from './maps.ts'
import type { Run } from './pagemap.ts'
import type { MemorySource } from './snapshot.ts'

const PAGE = 4096
const MOST_FILES = 20_000
const MOST_SCRIPT_BYTES = 2 ** 20
const MOST_STRINGS = 4000
const MOST_PATHS_IN_MEMORY = 50_000
const MOST_IN_FOLDER = 2000
/** What a page of the second tier's search may cost: it stops after this much memory. */
const MOST_MEMORY = 2 ** 30

/** How likely a file found in this way is the origin; lower is likelier. */
const RANKS = {
  named: 0,
  seen: 1,
  descriptor: 1,
  argument: 2,
  script: 3,
  environment: 4,
  mapped: 5,
  memory: 6,
  folder: 7,
}
type Way = keyof typeof RANKS

interface Found extends Candidate {
  readonly rank: number
  readonly program: boolean
}

function isKernels(path: string): boolean {
  return /^\/(proc|sys|dev)(\/|$)/.test(path)
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true })
  } catch {
    return undefined
  }
}

function attempt<T>(action: () => T, otherwise: T): T {
  try {
    return action()
  } catch {
    return otherwise
  }
}

const ELF_MAGIC = 0x464c457f
const ET_CORE = 4

/** Whether a file is a core dump: made of memory, where we look for what memory is made of; and whoever removes it wants its room. */
function isCore(path: string): boolean {
  const header = Buffer.alloc(20)
  const fd = attempt(() => openSync(path, 'r'), undefined)
  if (fd === undefined) return false
  const got = attempt(() => readSync(fd, header), 0)
  closeSync(fd)
  return got === header.length && header.readUInt32LE(0) === ELF_MAGIC && header.readUInt16LE(16) === ET_CORE
}

/** Collects candidates; the first and likeliest way of finding a file stays. */
class Collection {
  readonly #byFile = new Map<string, Found>()

  get full(): boolean {
    return this.#byFile.size >= MOST_FILES
  }

  /** Whether the path is a regular file that can be a candidate. */
  add(path: string, way: Way, how: string, openPath: string = path, program = false): boolean {
    if (isKernels(path) || path.includes('\0')) return false
    const stats = statOf(openPath)
    if (!stats?.isFile()) return false
    const identity = identityOf(stats)
    if (identity.size < PAGE) return true
    if ((way === 'memory' || way === 'folder') && isCore(openPath)) return true
    const key = `${identity.device}:${identity.inode}`
    const known = this.#byFile.get(key)
    const rank = RANKS[way]
    if (known ? known.rank > rank : !this.full)
      this.#byFile.set(key, { path, openPath, identity, how, rank, program })
    return true
  }

  ranked(): Candidate[] {
    return [...this.#byFile.values()]
      .toSorted((a, b) => a.rank - b.rank || b.identity.size - a.identity.size)
      .map(({ path, openPath, identity, how, program }) => ({ path, openPath, identity, how, program }))
  }
}

/** A file that somebody saw the process open. */
export interface SeenFile {
  readonly path: string
  /** How it was seen, for people: 'opened'. */
  readonly via: string
}

export interface CandidateOptions {
  /** Files, or folders whose files are meant, that the user names. */
  readonly backings?: readonly string[]
  readonly seen?: readonly SeenFile[]
}

/** The first tier. */
export function firstCandidates(pid: number, options: CandidateOptions = {}): Candidate[] {
  const files = new Collection()
  const folder = attempt(() => readlinkSync(`/proc/${pid}/cwd`), '/')
  for (const path of options.backings ?? []) addNamed(files, path)
  for (const { path, via } of options.seen ?? []) files.add(path, 'seen', via)
  addDescriptors(files, pid)
  addMapped(files, pid)
  const words = attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '').split('\0')
  for (const word of words) addArgument(files, word, folder)
  const values = attempt(() => readFileSync(`/proc/${pid}/environ`, 'utf8'), '').split('\0')
  for (const value of values) addEnvironment(files, value)
  return files.ranked()
}

function addNamed(files: Collection, path: string): void {
  const whole = resolve(path)
  if (files.add(whole, 'named', '--backing')) return
  const waiting = [whole]
  for (let folder = waiting.pop(); folder !== undefined && !files.full; folder = waiting.pop()) {
    const entries = attempt(() => readdirSync(folder ?? '/', { withFileTypes: true }), [])
    for (const entry of entries) {
      const inside = join(folder, entry.name)
      if (entry.isDirectory() && !isKernels(inside)) waiting.push(inside)
      else if (entry.isFile()) files.add(inside, 'named', `--backing ${path}`)
    }
  }
}

function addDescriptors(files: Collection, pid: number): void {
  for (const name of attempt(() => readdirSync(`/proc/${pid}/fd`), [])) {
    const link = `/proc/${pid}/fd/${name}`
    addLink(
      files,
      link,
      attempt(() => readlinkSync(link), ''),
      'descriptor',
      `open descriptor ${name}`,
    )
  }
}

/** A link of /proc: by its own path if that still is the same file, else by the link. */
function addLink(files: Collection, link: string, target: string, way: Way, how: string): void {
  if (!target.startsWith('/')) return
  const there = statOf(target)
  const here = statOf(link)
  if (there && here && there.dev === here.dev && there.ino === here.ino) files.add(target, way, how)
  else if (here) files.add(target.replace(/ \(deleted\)$/, ''), way, `${how}, deleted`, link)
}

function addMapped(files: Collection, pid: number): void {
  const done = new Set<string>()
  const mappings = attempt(() => readMaps(pid), [] as Mapping[])
  const programs = new Set(mappings.filter(one => one.executable).map(one => `${one.device} ${one.inode}`))
  for (const mapping of mappings) {
    const key = `${mapping.device} ${mapping.inode}`
    if (mapping.inode === 0 || !mapping.name.startsWith('/') || done.has(key)) continue
    done.add(key)
    const hex = (n: number): string => n.toString(16)
    const link = `/proc/${pid}/map_files/${hex(mapping.start)}-${hex(mapping.end)}`
    if (mapping.deleted) addLink(files, link, `${mapping.name} (deleted)`, 'mapped', 'mapped')
    else files.add(mapping.name, 'mapped', 'mapped', mapping.name, programs.has(key))
  }
}

function addArgument(files: Collection, word: string, folder: string): void {
  if (word === '') return
  const path = resolve(folder, word)
  if (files.add(path, 'argument', 'command line')) {
    addScript(files, path, folder)
    return
  }
  addStrings(files, word, folder, 'argument', 'in an argument')
}

function addScript(files: Collection, path: string, folder: string): void {
  const stats = attempt(() => lstatSync(path), undefined)
  if (!stats || stats.size > MOST_SCRIPT_BYTES) return
  const text = attempt(() => readFileSync(path), Buffer.alloc(0))
  if (text.subarray(0, 4096).includes(0)) return
  addStrings(files, text.toString(), folder, 'script', `in ${path}`)
}

/** What could be a path in a text: quoted strings, absolute paths, values after `=`, words with a slash or a dot. */
export function pathStrings(text: string): string[] {
  const found = new Set<string>()
  const patterns = [
    /(["'`])((?:(?!\1)[^\n\\]){1,1024})\1/g,
    /[=:,(\s[]([^\s"'`=:,;()[\]{}<>|&]*[./][^\s"'`=:,;()[\]{}<>|&]+)/g,
  ]
  for (const pattern of patterns) {
    for (const match of ` ${text}`.matchAll(pattern)) {
      found.add(match[2] ?? match[1] ?? '')
      if (found.size >= MOST_STRINGS) return [...found]
    }
  }
  return [...found]
}

function addStrings(files: Collection, text: string, folder: string, way: Way, how: string): void {
  for (const string of pathStrings(text)) files.add(resolve(folder, string), way, how)
}

function addEnvironment(files: Collection, value: string): void {
  const at = value.indexOf('=')
  const name = value.slice(0, at)
  if (name === '_' || name === 'PATH') return
  for (const path of value.slice(at + 1).split(':')) {
    if (path.startsWith('/')) files.add(path, 'environment', `environment ${name}`)
  }
}

/** The second tier: paths in memory, and the working directory. `runs` are pages still unexplained. */
export function secondCandidates(
  pid: number,
  memory: MemorySource,
  runs: readonly Run[],
  kernel: SearchKernel,
  pause: () => void = () => undefined,
): Candidate[] {
  const files = new Collection()
  const paths = new Set<string>()
  let left = MOST_MEMORY
  for (const run of runs) {
    for (let at = 0; at < run.pages * PAGE && left > 0 && paths.size < MOST_PATHS_IN_MEMORY; ) {
      const block = kernel.memory.subarray(0, Math.min(kernel.memory.length, run.pages * PAGE - at))
      const got = memory.read(run.start + at, block)
      if (got > 0) kernel.paths(got, path => paths.add(path))
      at += Math.max(PAGE, got)
      left -= got
      pause()
    }
  }
  for (const path of paths) files.add(path, 'memory', 'path in memory')
  const folder = attempt(() => readlinkSync(`/proc/${pid}/cwd`), '')
  const entries = folder === '' ? [] : attempt(() => readdirSync(folder, { withFileTypes: true }), [])
  for (const entry of entries.filter(one => one.isFile()).slice(0, MOST_IN_FOLDER)) {
    files.add(join(folder, entry.name), 'folder', 'working directory')
  }
  return files.ranked()
}
