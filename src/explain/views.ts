/**
 * Which views of which files are worth a search: memory says which lenses could have made it, files say which lenses
 * could read them.
 *
 *   marks(memory, runs)      looks at some unexplained pages: which lenses can have made them? (Lens.narrow)
 *   viewsOf(file, marks)     inner lenses by the file's content (members, line ends), each alone and with every marked lens
 *                            on top that suits what comes out; numbers that are parsed from it; in rounds, for after one
 *                            memory has fewer marks
 *
 * Nothing is decided here: a view is searched like a file, and what is found is compared.
 */
import type { Backing } from '../backing/backing.ts'
import { BytesBacking } from '../backing/bytes.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { columnLenses } from '../lens/columns.ts'
import { elementNames } from '../lens/elements.ts'
import { members } from '../lens/members.ts'
import { numberLenses } from '../lens/numbers.ts'
import { through } from '../lens/through.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import { codeLenses, encoders } from './code-views.ts'
import type { Candidate } from './pool.ts'

const PAGE = 4096
const SAMPLE = 400
const DEEP_SAMPLE = 20_000
/** A lens is marked when it could have made this share of the pages looked at. */
const SHARE = 0.01
/** Members of archives that are looked at: from this many bytes on, and so many. */
const LEAST_MEMBER = 65536
const MOST_MEMBERS = 64
const MOST_COLUMNS = 32
/** Of what can only be decompressed from its start on, so much is looked at. */
const HEAD = 2 ** 21

/** Lenses that go on top: known by what they leave in memory. */
export interface Outer {
  readonly name: string
  /** Whether the lens can have made this page. */
  marks(page: Uint8Array): boolean
}

/** A lens through which a file should be searched. */
export interface View {
  readonly lens: string
  /** When, from 0 on: what is likely and cheap first. */
  readonly round: number
  /** The mark that asks for it; none: what the file is asks for it. */
  readonly mark?: string
}

/** Views are searched in so many rounds. */
export const ROUNDS = 3

const room = new Uint8Array(4 * PAGE + 64)

function narrowing(name: string): Outer {
  const lens = lensNamed(name)
  return { name, marks: page => lens.narrow?.(page, room) !== undefined }
}

/** Of the lenses between element types: not those that any memory could have come through. */
const elements = elementNames.filter(name => !/^swap|^latin1-/.test(name))
/** Of these, what can be told from what it leaves; the other is found by what it looks like. */
const told = elements.filter(name => name !== 'f64-f32')

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

/** The marks of parsed numbers, of 64 bits and of 32: no lenses by themselves, because each table has its own. */
export const NUMBERS = 'numbers'
export const NUMBERS_32 = 'numbers-32'

const OUTER: readonly Outer[] = [
  ...[...textLenses, ...told].map(narrowing),
  // What another byte order was turned into can only be told by what it is: numbers.
  { name: 'swap64', marks: looksParsed },
  { name: 'swap32', marks: looksParsed32 },
  // Of doubles that were made floats the other digits are lost.
  { name: 'f64-f32', marks: looksParsed32 },
  ...encoders,
  { name: NUMBERS, marks: looksParsed },
  { name: NUMBERS_32, marks: looksParsed32 },
]

/** Names of the outer lenses that could have made some of these pages; in a deep search, any of many more pages. */
export function marks(memory: MemorySource, runs: readonly Run[], deep = false): Set<string> {
  const total = runs.reduce((sum, run) => sum + run.pages, 0)
  const step = Math.max(1, total / (deep ? DEEP_SAMPLE : SAMPLE))
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
  return new Set(
    OUTER.map(outer => outer.name).filter(name => (counts.get(name) ?? 0) > (deep ? 0 : SHARE * looked)),
  )
}

/**
 * Views of a file: of itself in the first round, of what is inside it in the second. In the last round what costs much for what
 * it finds: elements that begin at an odd byte or are in the other byte order, columns of tables as few programs read them. `marked`: marks that memory has.
 * Without `gates` nothing is left out because it is unlikely.
 */
export function viewsOf(
  file: Backing,
  marked: ReadonlySet<string>,
  { gates = true, pause }: { gates?: boolean; pause?: () => void } = {},
): View[] {
  const packed = members(file, { least: LEAST_MEMBER, most: MOST_MEMBERS, ...(pause ? { pause } : {}) })
  const lines = ['crlf-lf', 'newlines-lf'].filter(name => lensNamed(name).suits?.(file) ?? true).slice(0, 1)
  const codes = packed.length > 0 ? [] : attempt(() => codeLenses(file), [])
  const inner = [...packed.map(member => member.lens), ...lines, ...codes]
  const views: View[] = inner.map(lens => ({ lens, round: 0 }))
  for (const below of ['', ...inner]) {
    const above = (name: string): string => (below === '' ? name : `${below}|${name}`)
    const at = below === '' ? 0 : 1
    // A look into what is inside decompresses some of it: only if somebody asks.
    let source: Backing | undefined
    let text: boolean | undefined
    const content = (): Backing => (source ??= below === '' ? file : lookInto(file, below))
    const isText = (): boolean => (text ??= gates && attempt(() => looksLikeText(content()), false))
    for (const mark of marked) {
      if (mark === NUMBERS || mark === NUMBERS_32) continue
      if ((elements.includes(mark) || mark.startsWith('swap')) && isText()) continue
      for (const [phase, name] of phases(mark).entries())
        if (attempt(() => lensNamed(name).suits?.(content()) ?? true, false))
          views.push({ lens: above(name), mark, round: phase === 0 ? at : 2 })
      const bytes = widthOf(mark)
      const swapped = `swap${8 * bytes}|${mark}`
      const suits = (): boolean => lensNamed(swapped).suits?.(content()) ?? true
      if (elements.includes(mark) && bytes > 1 && attempt(suits, false))
        views.push({ lens: above(swapped), mark, round: 2 })
    }
    for (const [mark, bits] of [
      [NUMBERS, 64],
      [NUMBERS_32, 32],
    ] as const) {
      if (!marked.has(mark)) continue
      for (const name of attempt(() => numberLenses(content(), MOST_COLUMNS, bits), [])) {
        const column = name.includes('/') && !name.includes(',')
        const rare = /^numbers-f[0-9]+\//.test(name)
        views.push({ lens: above(name), mark, round: column ? (rare ? 2 : 1) : at })
      }
    }
    if (!marked.has(NUMBERS)) continue
    for (const name of attempt(() => columnLenses(content(), MOST_COLUMNS), []))
      views.push({ lens: above(name), mark: NUMBERS, round: at })
  }
  return views
}

/** What a lens makes of a file, or only the start of it where the rest can only be had after that. */
export function lookInto(file: Backing, name: string): Backing {
  const lens = lensNamed(name)
  if (!lens.head) return through(file, lens)
  const bytes = new Uint8Array(HEAD)
  return new BytesBacking(`${file.identity.inode}|${name}`, bytes.subarray(0, lens.head(file, bytes)))
}

/** What a byte of a file costs to search through a lens, beside reading it. */
const COSTS: readonly (readonly [RegExp, number])[] = [
  [/^unxz|^bunzip2/, 30],
  [/^(gunzip|inflate|zlib|png|tiff|git)/, 8],
  [/numbers/, 6],
  [/utf/, 3],
]

/** Bytes of a file's size, weighed by its lens: what shares of a search are measured in. */
export function costOf({ identity, lens = '' }: Pick<Candidate, 'identity' | 'lens'>): number {
  return identity.size * (COSTS.find(([name]) => name.test(lens))?.[1] ?? 2)
}

const LOOK = 2048

/** Whether the bytes at the start, in the middle and at the end are characters, and none of them controls. */
function looksLikeText(backing: Backing): boolean {
  const bytes = new Uint8Array(LOOK)
  for (const part of [0, 0.5, 1]) {
    const got = backing.read(Math.floor(Math.max(0, backing.size - LOOK) * part), bytes)
    let controls = 0
    for (let i = 0; i < got; i++) {
      const byte = bytes[i] ?? 0
      if (byte === 127 || (byte < 32 && (byte < 9 || byte > 13) && byte !== 27)) controls++
    }
    if (got === 0 || controls > 0) return false
    // Beyond ASCII: as UTF-8 has it, but for characters that are cut at the edges.
    const decoded = new TextDecoder().decode(bytes.subarray(0, got))
    if (decoded.slice(4, -4).includes('\ufffd') && !latin(bytes.subarray(0, got))) return false
  }
  return true
}

/** Whether most bytes are ASCII: a text in one of the old encodings. */
function latin(bytes: Uint8Array): boolean {
  let high = 0
  for (const byte of bytes) if (byte >= 0x80) high++
  return high * 5 < bytes.length
}

/** Bytes of the elements that a lens reads; 1 where they are bytes or characters. */
function widthOf(name: string): number {
  const bits = Number(/^(?:bf|f|u|i)(16|32|64)\b/.exec(name)?.[1] ?? 8)
  return bits / 8
}

/** An element can begin at any byte of a file; the names for each phase. */
function phases(name: string): string[] {
  return Array.from({ length: widthOf(name) }, (_, phase) => (phase === 0 ? name : `${name}+${phase}`))
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

/** The same of floats, or whole numbers, of 32 bits. */
export function looksParsed32(page: Uint8Array): boolean {
  const words = new Int32Array(page.buffer, page.byteOffset, page.length / 4)
  let usual = 0
  let zeros = 0
  for (const word of words) {
    const exponent = (word >>> 23) & 0xff
    if (word === 0) zeros++
    else if ((exponent > 127 - 24 && exponent < 127 + 24) || (word > -(1 << 24) && word < 1 << 24)) usual++
  }
  return zeros < words.length * 0.9 && usual + zeros > words.length * 0.9
}
