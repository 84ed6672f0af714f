/** Memory made by hand for the search: pieces of files at known places, and what of it must be found. */
import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileBacking, identityOf } from '../src/backing/file.ts'
import { explain, type Explanations } from '../src/explain/explain.ts'
import type { IndexCache } from '../src/explain/index-cache.ts'
import type { Candidate } from '../src/explain/pool.ts'
import type { Run } from '../src/process/pagemap.ts'
import type { MemorySource } from '../src/process/snapshot.ts'
import { removeFolder } from '../src/sys/folder.ts'

export const PAGE = 4096

/** A seeded generator (mulberry32): the same bytes in every run. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
}

export function randomBytes(length: number, seed: number): Uint8Array {
  const next = generator(seed)
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = next()
  return new Uint8Array(words.buffer, 0, length)
}

const WORDS =
  'alpha beta GET POST 200 404 error connection reset by peer timeout user session info warn'.split(' ')

/** A log: lines of a time, a number and some words. */
export function logBytes(length: number, seed: number): Uint8Array {
  const next = generator(seed)
  const lines: string[] = []
  for (let n = 0; n < length; ) {
    const words = Array.from({ length: 6 }, () => WORDS[next() % WORDS.length])
    const line = `2024-01-${String((next() % 28) + 1).padStart(2, '0')} ${next() % 1_000_000} ${words.join(' ')}\n`
    lines.push(line)
    n += line.length
  }
  return new Uint8Array(Buffer.from(lines.join(''), 'latin1').subarray(0, length))
}

/** Nothing but `templates` different lines, in random order: no line is rare, only their order is. */
export function templateBytes(length: number, templates: number, seed: number): Uint8Array {
  const next = generator(seed)
  const lines = Array.from({ length: templates }, (_, i) => logBytes(60 + (i % 40), seed + i))
  const out = new Uint8Array(length)
  for (let n = 0; n < length; ) {
    const line = lines[next() % templates] ?? new Uint8Array(1)
    out.set(line.subarray(0, length - n), n)
    n += line.length
  }
  return out
}

export class Folder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'lethe-test-'))

  file(name: string, bytes: Uint8Array | string): string {
    const path = join(this.path, name)
    writeFileSync(path, bytes)
    return path
  }

  [Symbol.dispose](): void {
    removeFolder(this.path)
  }
}

export function candidate(path: string): Candidate {
  return { path, openPath: path, identity: identityOf(statSync(path, { bigint: true })), how: 'test' }
}

/** Memory at an address of our choice; `absent` pages (numbers from its start) cannot be read. */
export class FakeMemory implements MemorySource {
  readonly bytes: Uint8Array
  readonly base: number
  readonly runs: readonly Run[]
  readonly absent: ReadonlySet<number>
  /** Called before each read: the place to change the memory under the reader. */
  onRead: (() => void) | undefined

  constructor(bytes: Uint8Array, base = 0x7f00_0000_0000, absent: ReadonlySet<number> = new Set()) {
    this.bytes = bytes
    this.base = base
    this.absent = absent
    this.runs = [{ start: base, pages: bytes.length / PAGE }]
  }

  read(address: number, into: Uint8Array): number {
    this.onRead?.()
    const at = address - this.base
    let length = 0
    while (length < into.length && at + length < this.bytes.length && !this.absent.has((at + length) / PAGE))
      length += PAGE
    length = Math.min(length, into.length)
    into.set(this.bytes.subarray(at, at + length))
    return length
  }
}

/** Memory that holds `pieces` one after another, each at `offset` bytes after the page-aligned end of the last. */
export function layOut(pieces: readonly { bytes: Uint8Array; offset: number }[]): {
  memory: Uint8Array
  /** Per page: 1 if it lies wholly inside a piece and is not all zero. */
  inside: Uint8Array
} {
  let at = 0
  const places = pieces.map(({ bytes, offset }) => {
    const start = at + offset
    at = Math.ceil((start + bytes.length) / PAGE) * PAGE + PAGE
    return start
  })
  const memory = new Uint8Array(at)
  for (let i = 0; i < at; i++) memory[i] = (i * 37 + (i >> 12) * 11 + 5) & 0xff
  const inside = new Uint8Array(at / PAGE)
  for (const [i, { bytes }] of pieces.entries()) {
    const start = places[i] ?? 0
    memory.set(bytes, start)
    for (let page = Math.ceil(start / PAGE); (page + 1) * PAGE <= start + bytes.length; page++) {
      if (memory.subarray(page * PAGE, (page + 1) * PAGE).some(byte => byte !== 0)) inside[page] = 1
    }
  }
  return { memory, inside }
}

export function search(memory: MemorySource, paths: readonly string[], cache?: IndexCache): Explanations {
  return explain(memory, [() => paths.map(candidate)], cache ? { cache } : {})
}

/** Explained pages among those that must be (`inside`), and extents that are false. */
export function judge(
  memory: FakeMemory,
  inside: Uint8Array,
  found: Explanations,
): { wanted: number; missed: number[]; false: number } {
  const explained = new Uint8Array(inside.length)
  let wrong = 0
  let last = 0
  for (const { start, pages, backing, offset } of found.extents) {
    const path = found.candidates[backing]?.openPath ?? ''
    const file = new FileBacking(path)
    const bytes = new Uint8Array(pages * PAGE)
    const got = file.read(offset, bytes)
    file.close()
    const at = start - memory.base
    if (start < last || start % PAGE !== 0) wrong++
    last = start + pages * PAGE
    if (got !== bytes.length || Buffer.compare(bytes, memory.bytes.subarray(at, at + bytes.length)) !== 0)
      wrong++
    explained.fill(1, at / PAGE, at / PAGE + pages)
  }
  const missed: number[] = []
  for (const [i, flag] of inside.entries()) if (flag === 1 && explained[i] === 0) missed.push(i)
  return { wanted: inside.reduce((sum, flag) => sum + flag, 0), missed, false: wrong }
}
