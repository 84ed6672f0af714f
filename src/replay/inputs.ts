// The inputs of an epoch, from the log of what it read (assemble.ts) to the runs that are kept (epochs.ts has their format).
import { Writer } from '../wasm/bytes.ts'
import { logEntry } from './assemble.ts'
import type { Brought, Image } from './epochs.ts'
import { pageBytes } from './lenses.ts'
import { leastOfPage } from './protocol.ts'
import type { Reference, References } from './references.ts'

/** What runs are of. */
export const kind = { bytes: 0, image: 1, file: 2, page: 3 } as const
/** Shorter runs are kept as bytes. */
const leastFileRun = 24
const leastPageRun = 64
/** Fewer zeros between other bytes are kept like these: another run would take more. */
const leastZeros = 4

/** Runs can be told apart by their number up to here; the address has the other bits of a double. */
const mostRuns = 2 ** 21

const entryWords = logEntry / 4

// The log in the order of addresses. Most of it lies in order already: what is sorted is its runs of entries, as numbers of an address and a place in
// the log.
function runsOf(words: Uint32Array): {
  readonly keys: Float64Array
  readonly counts: Uint32Array
  readonly bytes: number
} {
  const entries = Math.min(words.length / entryWords, mostRuns)
  const keys = new Float64Array(entries)
  const counts = new Uint32Array(entries)
  let runs = 0
  let first = 0
  let end = -1
  let bytes = 0
  for (let i = 0; i < entries; i++) {
    const at = words[entryWords * i] as number
    const width = words[entryWords * i + 1] as number
    bytes += width
    if (at === end) {
      counts[first] = (counts[first] as number) + 1
      end += width
      continue
    }
    keys[runs++] = at * mostRuns + i
    counts[i] = 1
    first = i
    end = at + width
  }
  return { keys: keys.subarray(0, runs).sort(), counts, bytes }
}

/** Bytes at addresses without a gap, from run to run: where each is, where in `bytes` it begins and ends. */
export interface Runs {
  readonly bytes: Uint8Array
  readonly starts: Float64Array
  readonly ends: Uint32Array
  readonly count: number
}

interface WholePage {
  readonly reference: Reference
  /** The first and the last of its bytes that are inputs. */
  first: number
  last: number
}

// Pages that can be made again, and of which so many bytes are inputs that all between the first and the last are put: what an epoch does
// not read may be anything.
function wholePages(runs: Runs, brought: Brought, references: References): Map<number, WholePage> {
  const { bytes } = runs
  const counts = new Map<number, number>()
  eachPage(runs, (page, _at, from, to) => {
    counts.set(page, (counts.get(page) ?? 0) + nonZeros(bytes, from, to))
  })
  const found = new Map<number, WholePage>()
  for (const [page, count] of counts) {
    if (count < leastOfPage || brought.touches(page * pageBytes, pageBytes)) continue
    const reference = references.page(page)
    if (reference !== undefined) found.set(page, { reference, first: Infinity, last: 0 })
  }
  if (found.size === 0) return found
  eachPage(runs, (page, at, from, to) => {
    const whole = found.get(page)
    const made = whole?.reference.bytes
    if (whole === undefined) return
    if (made === undefined || !areAt(bytes, from, to, made, at % pageBytes)) {
      found.delete(page)
      return
    }
    whole.first = Math.min(whole.first, at)
    whole.last = Math.max(whole.last, at + to - from - 1)
  })
  return found
}

// Loops of their own: one in a function that is made anew for each epoch is optimized anew for each.
function nonZeros(bytes: Uint8Array, from: number, to: number): number {
  let count = 0
  for (let i = from; i < to; i++) if (bytes[i] !== 0) count++
  return count
}

function areAt(bytes: Uint8Array, from: number, to: number, page: Uint8Array, at: number): boolean {
  for (let i = from; i < to; i++) if (page[at + i - from] !== bytes[i]) return false
  return true
}

// The part of each run that lies on a page: where it is, and where in `bytes`.
function eachPage(
  { starts, ends, count }: Runs,
  visit: (page: number, at: number, from: number, to: number) => void,
): void {
  for (let run = 0, from = 0; run < count; run++) {
    const end = ends[run] as number
    const shift = (starts[run] as number) - from
    while (from < end) {
      const at = from + shift
      const to = Math.min(end, from + pageBytes - (at % pageBytes))
      visit(Math.floor(at / pageBytes), at, from, to)
      from = to
    }
  }
}

/** What an epoch has read, in the order of addresses. */
export function inputRuns(log: Uint8Array): Runs {
  const words = new Uint32Array(log.buffer, log.byteOffset, log.length / 4)
  const { keys, counts, bytes: logged } = runsOf(words)
  const bytes = new Uint8Array(logged)
  const starts = new Float64Array(keys.length)
  const ends = new Uint32Array(keys.length)
  let count = 0
  let n = 0
  for (let run = 0; run < keys.length; ) {
    const start = Math.floor((keys[run] as number) / mostRuns) - n
    starts[count] = start + n
    // The bytes from here on without a gap; one that was logged twice was the same.
    for (; run < keys.length; run++) {
      const key = keys[run] as number
      if (Math.floor(key / mostRuns) > start + n) break
      const entries = key % mostRuns
      for (let entry = entries; entry < entries + (counts[entries] as number); entry++) {
        const from = words[entryWords * entry] as number
        const width = words[entryWords * entry + 1] as number
        const place = entry * logEntry + 8
        for (let k = start + n - from; k < width; k++) bytes[n++] = log[place + k] as number
      }
    }
    ends[count++] = n
  }
  return { bytes, starts, ends, count }
}

/** As they are kept. `needed` gets the references that they need. */
export function encodeInputs(
  runs: Runs,
  image: Image,
  brought: Brought,
  references: References | undefined,
  needed: Reference[],
): Uint8Array {
  const { bytes } = runs
  const w = new InputWriter(bytes, image)
  const numberOf = (reference: Reference): number => {
    const known = needed.indexOf(reference)
    return known >= 0 ? known : needed.push(reference) - 1
  }
  const pages = references === undefined ? undefined : wholePages(runs, brought, references)
  for (let run = 0, first = 0; run < runs.count; run++) {
    const last = runs.ends[run] as number
    const shift = (runs.starts[run] as number) - first
    for (let from = first; from < last; ) {
      const toNext = pageBytes - ((shift + from) % pageBytes)
      const known = pages?.get(Math.floor((shift + from) / pageBytes))
      if (known !== undefined) {
        // The first of its bytes puts them all.
        if (known.first >= w.end) {
          w.put(known.first, known.last + 1 - known.first, kind.page)
          w.runs.u32(numberOf(known.reference))
        }
        from += Math.min(last - from, toNext)
        continue
      }
      const rest = last - from >= leastFileRun ? bytes.subarray(from, last) : undefined
      const file = rest === undefined ? undefined : brought.find(shift + from, rest)
      if (file !== undefined && file.length >= leastFileRun) {
        w.put(shift + from, file.length, kind.file)
        w.runs.u32(file.source)
        w.runs.u64(file.offset)
        from += file.length
        continue
      }
      const page =
        rest !== undefined && rest.length >= leastPageRun ? references?.find(shift + from, rest) : undefined
      if (page !== undefined && page.length >= leastPageRun) {
        w.put(shift + from, page.length, kind.page)
        w.runs.u32(numberOf(page.reference))
        from += page.length
        continue
      }
      // The next page may be one that can be made again.
      const to = references === undefined ? last : Math.min(last, from + toNext)
      w.plain(shift, from, to)
      from = to
    }
    first = last
  }
  return w.take()
}

// A class and not functions within `encodeInputs`: those would be made anew for each epoch, and optimized anew.
class InputWriter {
  readonly #bytes: Uint8Array
  readonly #image: Image
  readonly #all = new Writer(4096)
  readonly runs: Writer = new Writer(1024)
  /** Where in memory the last run ended. */
  end = 0

  constructor(bytes: Uint8Array, image: Image) {
    this.#bytes = bytes
    this.#image = image
  }

  put(start: number, length: number, what: number): void {
    this.runs.u32(start - this.end)
    this.runs.u32(length * 4 + what)
    this.end = start + length
  }

  /** What is from `first` to `last` in the bytes, and `shift` less than where it is in memory: of the image, or kept. */
  plain(shift: number, first: number, last: number): void {
    const image = this.#image
    const bytes = this.#bytes
    if (!image.touches(shift + first, last - first)) return this.#kept(shift, first, last)
    for (let from = first; from < last; ) {
      const same = image.same(shift + from, bytes, from, last)
      if (same > 7 || same === last - from) {
        this.put(shift + from, same, kind.image)
        from += same
        continue
      }
      let to = from + Math.max(same, 1)
      while (to < last && image.same(shift + to, bytes, to, last) < 8) to++
      this.#kept(shift, from, to)
      from = to
    }
  }

  // Without the zeros at its ends, and in two where many are between.
  #kept(shift: number, from: number, to: number): void {
    const bytes = this.#bytes
    for (let at = from; at < to; ) {
      while (at < to && bytes[at] === 0) at++
      if (at === to) return
      let last = at
      for (let i = at + 1; i < to && i - last <= leastZeros; i++) if (bytes[i] !== 0) last = i
      this.put(shift + at, last + 1 - at, kind.bytes)
      this.#all.bytes(bytes, at, last + 1)
      at = last + 1
    }
  }

  take(): Uint8Array {
    const { length } = this.runs
    this.#all.bytes(this.runs.view(), 0, length)
    const tail = new Uint8Array(4)
    new DataView(tail.buffer).setUint32(0, length, true)
    this.#all.bytes(tail, 0, 4)
    return this.#all.take()
  }
}
