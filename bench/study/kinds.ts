// What the pages of a recipe are made of: numbers that were parsed from text, or the bytes of files with little between them.
import { readFileSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'
import type { Extent } from '../../src/explain/extents.ts'
import { CELL_PAGES } from '../../src/lens/recipe.ts'
import { ProgramRunner } from '../../src/lens/recipe-program.ts'

const PAGE = 4096
/** Of a page: at least this much numbers, in objects of 32 bytes; at least this much bytes of files, and zeros. */
const NUMBERS = 0.2
const NEARLY = 0.9
/** Shorter runs of a file's bytes, and of zeros, don't count. */
const LEAST_COPY = 32
const LEAST_ZEROS = 16

/** Pages of recipes, each of one kind at most. */
export interface Kinds {
  /** Of numbers parsed from text, at a stride. */
  readonly numbers: number
  /** Of files' bytes to 90 %. */
  readonly nearly: number
}

/** Looks at the recipe file at `path` for the pages of `extents`; `lenses` are its sources', in their order. */
export function kindsOf(path: string, extents: readonly Extent[], lenses: readonly string[]): Kinds {
  const file = readFileSync(path)
  const cells = file.readUInt32LE(12)
  const table = file.readDoubleLE(16)
  const kinds = new Map<number, keyof Kinds>()
  const parsed = lenses.map(lens => lens.includes('numbers'))
  for (let cell = 0, at = 64; cell < cells; cell++) {
    const length = file.readUInt32LE(table + 4 * cell)
    const bytes = zstdDecompressSync(file.subarray(at, at + length))
    at += length
    for (const [i, kind] of kindsOfCell(bytes, parsed).entries())
      if (kind !== undefined) kinds.set(cell * CELL_PAGES + i, kind)
  }
  const counts = { numbers: 0, nearly: 0 }
  for (const { offset, pages } of extents)
    for (let i = 0; i < pages; i++) {
      const kind = kinds.get(offset / PAGE + i)
      if (kind !== undefined) counts[kind]++
    }
  return counts
}

function kindsOfCell(cell: Buffer, parsed: readonly boolean[]): (keyof Kinds | undefined)[] {
  const sizes = Array.from({ length: CELL_PAGES }, (_, i) => ({
    program: cell.readUInt16LE(4 * i),
    literals: cell.readUInt16LE(4 * i + 2),
  }))
  let program = 4 * CELL_PAGES
  let literals = program + sizes.reduce((sum, one) => sum + one.program, 0)
  return sizes.map(size => {
    const kind = kindOf(
      cell.subarray(program, program + size.program),
      cell.subarray(literals, literals + size.literals),
      parsed,
    )
    program += size.program
    literals += size.literals
    return kind
  })
}

const runner = new ProgramRunner()

/** A page made of sources of zeros, and of others: what differs comes from them. */
function kindOf(
  program: Uint8Array,
  literals: Uint8Array,
  parsed: readonly boolean[],
): keyof Kinds | undefined {
  if (program.length + literals.length === 0) return undefined
  const made = (fill: (isParsed: boolean) => number): Uint8Array => {
    const page = new Uint8Array(PAGE)
    runner.run(
      program,
      literals,
      (source, _, into) => {
        into.fill(fill(parsed[source] === true))
      },
      page,
    )
    return page
  }
  const none = made(() => 0)
  const all = made(() => 255)
  const numbers = made(isParsed => (isParsed ? 255 : 0))
  let count = 0
  for (let i = 0; i < PAGE; i++) if (numbers[i] !== none[i]) count++
  if (count >= NUMBERS * PAGE) return 'numbers'
  let covered = 0
  for (let i = 0; i < PAGE; ) {
    const copied = all[i] !== none[i]
    const zero = all[i] === 0
    let end = i + 1
    if (copied) while (end < PAGE && all[end] !== none[end]) end++
    else if (zero) while (end < PAGE && all[end] === 0) end++
    if (end - i >= (copied ? LEAST_COPY : zero ? LEAST_ZEROS : Infinity)) covered += end - i
    i = end
  }
  return covered >= NEARLY * PAGE ? 'nearly' : undefined
}
