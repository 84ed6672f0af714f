#!/usr/bin/env node
/**
 * The search as a program of its own, run by the pager and soon gone, so that its memory goes back.
 *
 * Reads one JSON document on stdin (Request), writes NDJSON on stdout (Message). Backings come before the extents that
 * name them; `done` is last and says that nothing is missing. Anything that went wrong is one `error` line
 * and exit code 1.
 */
import { readFileSync, writeSync } from 'node:fs'
import type { Identity } from '../backing/backing.ts'
import type { SeenFile } from '../process/candidates.ts'
import type { Run } from '../process/pagemap.ts'
import type { Range } from '../process/snapshot.ts'
import type { ExplainCounts } from './explain.ts'
import type { Extent } from './extents.ts'
import { packProcess } from './pack.ts'
import { explainProcess, type ExplainProcessOptions, recipesOfProcess } from './process.ts'

export interface Request {
  readonly pid: number
  readonly ranges?: readonly Range[]
  readonly skip?: readonly Range[]
  readonly backings: readonly string[]
  readonly files?: readonly SeenFile[]
  readonly cacheDir?: string
  readonly level: 'quick' | 'second'
  /** Pack what is left instead of searching. */
  readonly pack?: Room
  /** Look for recipes for what is left instead of searching. */
  readonly recipe?: Room
  readonly cpuShare?: number
}

/** A file to be written, and the bytes that it may have. */
export interface Room {
  readonly path: string
  readonly most: number
}

export interface BackingMessage {
  readonly type: 'backing'
  readonly index: number
  readonly path: string
  readonly identity: Identity
  readonly how: string
  readonly openPath: string
  /** The lens that makes the bytes; none: they are the file's own. */
  readonly lens?: string
  /** Of a recipe: indexes of the backings that it is made of, in the order of its numbers. They come before it. */
  readonly sources?: readonly number[]
}

/** Up to BATCH extents, as columns: [start, pages, backing, offset] each. */
export interface ExtentsMessage {
  readonly type: 'extents'
  readonly extents: readonly (readonly [start: number, pages: number, backing: number, offset: number])[]
}

export interface ZerosMessage {
  readonly type: 'zeros'
  readonly runs: readonly (readonly [start: number, pages: number])[]
}

export interface DoneMessage extends ExplainCounts {
  readonly type: 'done'
  readonly peakRss: number
  readonly cpuSeconds: number
}

export interface ErrorMessage {
  readonly type: 'error'
  readonly message: string
}

export type Message = BackingMessage | ExtentsMessage | ZerosMessage | DoneMessage | ErrorMessage

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

const nothingSearched: ExplainCounts = {
  pages: 0,
  zero: 0,
  explained: 0,
  unexplained: 0,
  duplicate: 0,
  absent: 0,
  bytesScanned: 0,
  memoryBytesRead: 0,
  fileBytesIndexed: 0,
  seconds: 0,
}

const BATCH = 2000

function write(message: Message): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`)
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done)
    } catch (error) {
      // A pipe that its reader made non-blocking is full: wait a moment.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}

function* groups<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < all.length; i += BATCH) yield all.slice(i, i + BATCH)
}

function main(): void {
  const request = JSON.parse(readFileSync(0, 'utf8')) as Request
  const { pid, ranges, skip, backings, files, cacheDir, level, pack, recipe, cpuShare } = request
  if (pack) {
    const packed = packProcess(pid, {
      ...pack,
      ...(skip ? { skip } : {}),
      ...(cpuShare === undefined ? {} : { cpuShare }),
    })
    if (packed.candidate) write({ type: 'backing', index: 0, ...packed.candidate })
    writeExtents(packed.extents)
    done({ ...nothingSearched, pages: packed.pages })
    return
  }
  const options: ExplainProcessOptions = {
    backings,
    level,
    ...(ranges ? { ranges } : {}),
    ...(skip ? { skip } : {}),
    ...(files ? { seen: files } : {}),
    ...(cacheDir === undefined ? {} : { cacheFolder: cacheDir }),
    ...(cpuShare === undefined ? {} : { cpuShare }),
  }
  if (recipe) {
    const found = recipesOfProcess(pid, { ...options, ...recipe })
    const last = found.candidates.length - 1
    for (const [index, candidate] of found.candidates.entries()) {
      const sources = Array.from({ length: last }, (_, i) => i)
      write({ type: 'backing', index, ...candidate, ...(index === last ? { sources } : {}) })
    }
    writeExtents(found.extents)
    done({ ...nothingSearched, pages: found.pages })
    return
  }
  const result = explainProcess(pid, options)
  const used = new Set(result.extents.map(extent => extent.backing))
  for (const [index, candidate] of result.candidates.entries()) {
    if (used.has(index)) write({ type: 'backing', index, ...candidate })
  }
  writeExtents(result.extents)
  const pair = ({ start, pages }: Run): [number, number] => [start, pages]
  for (const group of groups(result.zero)) write({ type: 'zeros', runs: group.map(pair) })
  done(result.counts)
}

function writeExtents(extents: readonly Extent[]): void {
  const row = ({ start, pages, backing, offset }: Extent): [number, number, number, number] => [
    start,
    pages,
    backing,
    offset,
  ]
  for (const group of groups(extents)) write({ type: 'extents', extents: group.map(row) })
}

function done(counts: ExplainCounts): void {
  write({
    type: 'done',
    ...counts,
    peakRss: process.resourceUsage().maxRSS * 1024,
    cpuSeconds: cpuSeconds(),
  })
}

try {
  main()
} catch (error) {
  write({ type: 'error', message: error instanceof Error ? error.message : String(error) })
  process.exitCode = 1
}
