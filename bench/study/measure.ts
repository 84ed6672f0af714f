/**
 * The figures of one state. All are of the same pages, the present private anonymous ones, read while the program waits:
 *   what explains them, page by page (as `lethe audit`), and what recipes explain besides (as `lethe attach`)
 *   how much would be explained if pages were smaller or larger
 *   zram: the same bytes written to a zram device, and what it takes; KSM: pages that hold the same as another one
 *   stability: which of the explained pages are as they were after the program has used what it holds
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { grain, type GrainPoint } from '../../src/audit/grain.ts'
import { type Pattern, patternOf } from '../../src/audit/patterns.ts'
import { explainProcess, recipesOfProcess } from '../../src/explain/process.ts'
import { indexStore } from '../../src/explain/stores.ts'
import { readMaps } from '../../src/process/maps.ts'
import { type Range, explainable, presentRuns, ProcessMemory } from '../../src/process/snapshot.ts'
import { memoryFigures } from '../../src/process/target.ts'
import { type Kinds, kindsOf } from './kinds.ts'
import { Program } from './program.ts'
import type { State } from './state.ts'

const PAGE = 4096

/** What a state's result file has. Sizes are bytes, counts are pages. */
export interface Result {
  readonly name: string
  /** RssAnon, and the shared memory beside it, which Lethe leaves alone. */
  readonly anonymous: number
  readonly shared: number
  /** Pages looked at. */
  readonly pages: number
  readonly explained: number
  readonly zero: number
  /** Explained by recipes, besides; and the recipe file's bytes. */
  readonly pieces: number
  readonly recipe: number
  /** What of these pages is numbers from text, and what nearly all bytes of files. */
  readonly kinds: Kinds
  /** Pages by how they were copied. */
  readonly patterns: Readonly<Partial<Record<Pattern, number>>>
  /** Pages by lens. */
  readonly lenses: Readonly<Record<string, number>>
  readonly points: readonly GrainPoint[]
  /** What zram (lzo-rle) takes for the same pages; missing: the kernel has none. */
  readonly zram?: number
  /** Pages that hold the same as another one of the process: what KSM could merge. */
  readonly same: number
  /** After use: pages that have changed or gone, of those explained and of the others; missing: it was not used. */
  readonly changed?: { readonly explained: number; readonly others: number }
  readonly seconds: number
}

export async function measure(state: State): Promise<Result> {
  const began = performance.now()
  const program = await Program.start(state)
  try {
    const { pid } = program
    const figures = memoryFigures(pid)
    const { backings } = program
    const found = explainProcess(pid, { backings })
    const patterns: Partial<Record<Pattern, number>> = {}
    const lenses: Record<string, number> = {}
    const ranges: Range[] = []
    for (const { start, pages, backing, offset } of found.extents) {
      const lens = found.candidates[backing]?.lens ?? 'verbatim'
      const pattern = patternOf(lens, offset % PAGE === 0)
      patterns[pattern] = (patterns[pattern] ?? 0) + pages
      lenses[lens] = (lenses[lens] ?? 0) + pages
      ranges.push([start, start + pages * PAGE])
    }
    const zeros = found.zero.map(({ start, pages }): Range => [start, start + pages * PAGE])
    const points = grain({ pid, found, virtual: [], store: indexStore() }).points
    const recipe = recipes(pid, backings, [...ranges, ...zeros])
    if (recipe.pages > 0) {
      patterns.pieces = recipe.pages
      lenses['recipe'] = recipe.pages
    }
    const before = pagesOf(pid)
    const distinct = new Set(before.hashes.values()).size
    const zram = inZram(pid)
    const made = [...ranges, ...recipe.ranges]
    const used = state.stopAt === undefined && (await program.use())
    return {
      name: state.name,
      anonymous: figures?.anonymous ?? 0,
      shared: sharedBytes(pid),
      pages: found.counts.pages,
      explained: found.counts.explained,
      zero: found.counts.zero,
      pieces: recipe.pages,
      recipe: recipe.bytes,
      kinds: recipe.kinds,
      patterns,
      lenses,
      points,
      ...(zram === undefined ? {} : { zram }),
      same: before.hashes.size - distinct,
      ...(used ? { changed: changes(before.hashes, pagesOf(pid).hashes, made) } : {}),
      seconds: (performance.now() - began) / 1000,
    }
  } finally {
    program.end()
  }
}

function recipes(
  pid: number,
  backings: readonly string[],
  skip: readonly Range[],
): { pages: number; bytes: number; ranges: Range[]; kinds: Kinds } {
  const path = join(tmpdir(), `lethe-study-${process.pid}.recipe`)
  try {
    const { extents, candidates } = recipesOfProcess(pid, {
      path,
      most: 2 ** 31,
      backings,
      skip: skip.toSorted(([a], [b]) => a - b),
    })
    const ranges = extents.map(({ start, pages }): Range => [start, start + pages * PAGE])
    const pages = extents.reduce((sum, extent) => sum + extent.pages, 0)
    if (pages === 0) return { pages, bytes: 0, ranges, kinds: { numbers: 0, nearly: 0 } }
    const kinds = kindsOf(
      path,
      extents,
      candidates.map(({ lens = '' }) => lens),
    )
    return { pages, bytes: statSync(path).size, ranges, kinds }
  } finally {
    rmSync(path, { force: true })
  }
}

const sharedBytes = (pid: number): number =>
  Number(/^RssShmem:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024

/** Calls `each` with blocks of the present pages. */
function readPages(pid: number, each: (address: number, bytes: Buffer) => void): void {
  const runs = presentRuns(pid, explainable(readMaps(pid, { flags: true })))
  using memory = new ProcessMemory(pid, runs)
  const block = Buffer.alloc(1 << 20)
  for (const run of runs)
    for (let at = 0; at < run.pages * PAGE; ) {
      const wanted = block.subarray(0, Math.min(block.length, run.pages * PAGE - at))
      const got = memory.read(run.start + at, wanted)
      if (got >= PAGE) each(run.start + at, wanted.subarray(0, got - (got % PAGE)))
      at += Math.max(PAGE, got - (got % PAGE))
    }
}

function pagesOf(pid: number): { hashes: Map<number, string> } {
  const hashes = new Map<number, string>()
  readPages(pid, (address, bytes) => {
    for (let at = 0; at < bytes.length; at += PAGE)
      hashes.set(
        address + at,
        createHash('md5')
          .update(bytes.subarray(at, at + PAGE))
          .digest('hex'),
      )
  })
  return { hashes }
}

function changes(
  before: ReadonlyMap<number, string>,
  after: ReadonlyMap<number, string>,
  made: readonly Range[],
): { explained: number; others: number } {
  const inside = new Set<number>()
  for (const [start, end] of made) for (let at = start; at < end; at += PAGE) inside.add(at)
  let explained = 0
  let others = 0
  for (const [address, hash] of before)
    if (after.get(address) !== hash) {
      if (inside.has(address)) explained++
      else others++
    }
  return { explained, others }
}

/** What a zram device of its own takes for the pages; undefined where there is none. */
function inZram(pid: number): number | undefined {
  let id: number
  try {
    id = Number(readFileSync('/sys/class/zram-control/hot_add', 'latin1'))
  } catch {
    return undefined
  }
  const folder = `/sys/block/zram${id}`
  const used = (): number => Number(readFileSync(`${folder}/mm_stat`, 'latin1').trim().split(/\s+/)[2])
  try {
    writeFileSync(`${folder}/comp_algorithm`, 'lzo-rle')
    writeFileSync(`${folder}/disksize`, '4G')
    const empty = used()
    const device = openSync(`/dev/zram${id}`, 'r+')
    let at = 0
    readPages(pid, (_, bytes) => {
      at += writeSync(device, bytes, 0, bytes.length, at)
    })
    fsyncSync(device)
    closeSync(device)
    return used() - empty
  } finally {
    writeFileSync(`${folder}/reset`, '1')
    writeFileSync('/sys/class/zram-control/hot_remove', String(id))
  }
}
