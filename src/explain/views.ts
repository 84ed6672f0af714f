/**
 * Which views of which files are worth a search: memory says which lenses could have made it, files say which lenses
 * could read them.
 *
 *   marks(memory, runs)      looks at some unexplained pages: which lenses can have made them? (Lens.narrow)
 *   viewsOf(file, marks)     inner lenses by the file's content (members, line ends), each alone and with every marked lens
 *                            on top that suits what comes out; numbers that are parsed from it
 *
 * Nothing is decided here: a view is searched like a file, and what is found is compared.
 */
import type { Backing } from '../backing/backing.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { elementNames } from '../lens/elements.ts'
import { members } from '../lens/members.ts'
import { numberLenses } from '../lens/numbers.ts'
import { through } from '../lens/through.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'

const PAGE = 4096
const SAMPLE = 400
/** A lens is marked when it could have made this share of the pages looked at. */
const SHARE = 0.01
/** Members of archives that are looked at: from this many bytes on, and so many. */
const LEAST_MEMBER = 65536
const MOST_MEMBERS = 64
const MOST_COLUMNS = 32

/** Lenses that go on top: known by what they leave in memory. */
export interface Outer {
  readonly name: string
  /** Whether the lens can have made this page. */
  marks(page: Uint8Array): boolean
}

/** Names of lenses over a file. */
export interface Views {
  readonly first: readonly string[]
  readonly second: readonly string[]
}

const room = new Uint8Array(4 * PAGE + 64)

function narrowing(name: string): Outer {
  const lens = lensNamed(name)
  return { name, marks: page => lens.narrow?.(page, room) !== undefined }
}

/** Of the lenses between element types: not those that any memory could have come through. */
const elements = elementNames.filter(name => !/^swap|^latin1-/.test(name))

/** Lenses between encodings of text. */
export const textLenses: readonly string[] = [
  'utf8-utf16',
  'utf8-utf32',
  'latin1-utf16',
  'latin1-utf32',
  'utf8-latin1',
  'utf16-utf8',
  'utf16-utf32',
  'utf16-latin1',
]

/** The mark of parsed numbers: no lens by itself, because each table has its own. */
export const NUMBERS = 'numbers'

const OUTER: readonly Outer[] = [
  ...[...textLenses, ...elements].map(narrowing),
  { name: NUMBERS, marks: looksParsed },
]

/** Names of the outer lenses that could have made some of these pages. */
export function marks(memory: MemorySource, runs: readonly Run[]): string[] {
  const total = runs.reduce((sum, run) => sum + run.pages, 0)
  const step = Math.max(1, total / SAMPLE)
  const page = new Uint8Array(PAGE)
  const counts = new Map<string, number>()
  let looked = 0
  let next = 0
  let before = 0
  for (const run of runs) {
    for (; next < before + run.pages; next += step) {
      if (memory.read(run.start + (Math.floor(next) - before) * PAGE, page) !== PAGE) continue
      looked++
      for (const outer of OUTER)
        if (outer.marks(page)) counts.set(outer.name, (counts.get(outer.name) ?? 0) + 1)
    }
    before += run.pages
  }
  return OUTER.map(outer => outer.name).filter(name => (counts.get(name) ?? 0) > SHARE * looked)
}

/**
 * Lenses through which this file should be searched, in the order of how likely they are; those of the second round cost
 * much for what they find.
 */
export function viewsOf(file: Backing, marked: readonly string[], pause?: () => void): Views {
  const packed = members(file, { least: LEAST_MEMBER, most: MOST_MEMBERS, ...(pause ? { pause } : {}) })
  const lines = ['crlf-lf', 'newlines-lf'].filter(name => lensNamed(name).suits?.(file) ?? true).slice(0, 1)
  const inner = [...packed.map(member => member.lens), ...lines]
  const first = [...inner]
  const second: string[] = []
  for (const below of ['', ...inner]) {
    const above = (name: string): string => (below === '' ? name : `${below}|${name}`)
    for (const name of marked) {
      if (name === NUMBERS) continue
      for (const phased of phases(name))
        if (attempt(() => lensNamed(above(phased)).suits?.(file) ?? true, false)) first.push(above(phased))
    }
    if (!marked.includes(NUMBERS)) continue
    const source = below === '' ? file : through(file, lensNamed(below))
    const tables = attempt(() => numberLenses(source, MOST_COLUMNS), [])
    for (const name of tables) (name.includes('/') && !name.includes(',') ? second : first).push(above(name))
  }
  return { first, second }
}

/** An element can begin at any byte of a file; the names for each phase. */
function phases(name: string): string[] {
  const bytes = /^(bf16|f16|u16|i16)-/.test(name)
    ? 2
    : /^(f32|u32|i32)-/.test(name)
      ? 4
      : name.startsWith('f64-')
        ? 8
        : 1
  return Array.from({ length: bytes }, (_, phase) => (phase === 0 ? name : `${name}+${phase}`))
}

function attempt<T>(action: () => T, otherwise: T): T {
  try {
    return action()
  } catch {
    // A file that is damaged, or changes under us, has no views.
    return otherwise
  }
}

/** Whether most words of a page are doubles of a usual size, or small whole numbers. */
export function looksParsed(page: Uint8Array): boolean {
  const words = new Uint32Array(page.buffer, page.byteOffset, page.length / 4)
  let doubles = 0
  let integers = 0
  let zeros = 0
  for (let i = 0; i + 1 < words.length; i += 2) {
    const low = words[i] ?? 0
    const high = words[i + 1] ?? 0
    const exponent = (high >>> 20) & 0x7ff
    if (high === 0 && low === 0) zeros++
    else if (exponent > 1023 - 64 && exponent < 1023 + 64) doubles++
    else if ((high === 0 && low < 1 << 30) || high === 0xffff_ffff) integers++
  }
  const all = words.length / 2
  return zeros < all * 0.9 && doubles + integers + zeros > all * 0.8
}
