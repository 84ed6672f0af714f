// What is kept of an epoch so that it can be replayed: the locals it began with, what it read before it wrote it, what the
// host answered. Inputs are runs of bytes, all of them packed: a gap, a length and a kind, and then
//
//   bytes   themselves
//   image   nothing: they are those of the module's own data segments
//   file    a source and an offset: they are those that the guest has read from a file, and lie there still
//   page    the number of a reference: they are those of a page that other epochs make again (references.ts)
//
// Bytes that are 0 are not kept at all: a replay begins with nothing but zeros. What is kept are the bytes of all runs, and then the runs.
import { Writer } from '../wasm/bytes.ts'
import { logEntry } from './assemble.ts'
import { CallReader } from './calls.ts'
import { pageBytes } from './lenses.ts'
import type { Packer } from './pack.ts'
import { bytesPerReference, type Epoch, leastOfPage, type ReadSource } from './protocol.ts'
import type { Reference, References } from './references.ts'

/** A data segment: where it lies when the guest starts. */
export interface Segment {
  readonly at: number
  readonly bytes: Uint8Array
}

const kind = { bytes: 0, image: 1, file: 2, page: 3 } as const
/** Shorter runs are kept as bytes. */
const leastFileRun = 24
const leastPageRun = 64
/** Fewer zeros between other bytes are kept like these: another run would take more. */
const leastZeros = 4

export class KeptEpoch {
  readonly id: number
  readonly point: number
  readonly locals: Uint8Array
  readonly globals: readonly (number | bigint)[]
  readonly size: number
  readonly polls: number
  readonly #calls: Uint8Array
  readonly #inputs: Uint8Array
  readonly #image: Image
  readonly #packer: Packer
  /** Pages whose lens needs this epoch. */
  users = 0
  /** CPU time of its last replay, with those that it needs, and its own. */
  milliseconds = 0
  own = 0
  /** The pages that it needs, and that other epochs make. */
  readonly references: readonly Reference[]
  /** 0 without references, else one more than the deepest epoch that is referred to. */
  readonly depth: number

  /** With `references`, long runs that other epochs make are not kept. */
  constructor(epoch: Epoch, image: Image, brought: Brought, packer: Packer, references?: References) {
    this.id = epoch.id
    this.point = epoch.point
    this.locals = epoch.locals
    this.globals = epoch.globals
    this.size = epoch.size
    this.polls = epoch.polls
    this.#calls = packer.pack(epoch.calls)
    this.#image = image
    this.#packer = packer
    const needed: Reference[] = []
    this.#inputs = packer.pack(encodeInputs(epoch.inputs, image, brought, references, needed))
    this.references = needed
    this.depth = references === undefined || needed.length === 0 ? 0 : 1 + references.depthOf(needed)
  }

  /** Bytes kept: of inputs with locals and globals, of calls. */
  get inputBytes(): number {
    const tables = this.locals.length + this.globals.length * 8 + 16
    return this.#inputs.length + tables + this.references.length * bytesPerReference
  }
  get callBytes(): number {
    return this.#calls.length
  }

  calls(): CallReader {
    return new CallReader(this.#packer.unpack(this.#calls).slice())
  }

  /** `pages`: the bytes of its references. */
  putInputs(memory: Uint8Array, read: ReadSource, pages: readonly Uint8Array[]): void {
    const runs = this.#packer.unpack(this.#inputs)
    const end = runs.length - 4
    let from = 0
    let i = end - new DataView(runs.buffer, runs.byteOffset + end, 4).getUint32(0, true)
    const next = (): number => {
      let value = 0
      for (let factor = 1; ; factor *= 128) {
        const byte = runs[i++] as number
        value += (byte & 127) * factor
        if (byte < 128) return value
      }
    }
    let at = 0
    while (i < end) {
      at += next()
      const word = next()
      const length = word >>> 2
      if ((word & 3) === kind.image) this.#image.put(memory, at, length)
      else if ((word & 3) === kind.file) {
        const source = next()
        read(source, next(), memory.subarray(at, at + length))
      } else if ((word & 3) === kind.page) {
        const from = at % pageBytes
        memory.set((pages[next()] as Uint8Array).subarray(from, from + length), at)
      } else {
        for (let k = 0; k < length; k++) memory[at + k] = runs[from + k] as number
        from += length
      }
      at += length
    }
  }
}

/** The memory as the module's data segments make it. */
export class Image {
  readonly #segments: readonly Segment[]

  constructor(segments: readonly Segment[]) {
    this.#segments = segments
  }

  /** Whether there is a segment in any part of the range. */
  touches(address: number, length: number): boolean {
    for (const { at, bytes } of this.#segments)
      if (at < address + length && address < at + bytes.length) return true
    return false
  }

  /** How many of the bytes from `from` up to `to`, the first of which is at an address, are those of the image: 0 where no segment is. */
  same(address: number, bytes: Uint8Array, from: number, to: number): number {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { at, bytes: own } = this.#segments[i] as Segment
      if (address < at || address >= at + own.length) continue
      const most = Math.min(to - from, at + own.length - address)
      let n = 0
      while (n < most && own[address - at + n] === bytes[from + n]) n++
      return n
    }
    return 0
  }

  put(memory: Uint8Array, at: number, length: number): void {
    for (const segment of this.#segments) {
      const from = Math.max(at, segment.at)
      const to = Math.min(at + length, segment.at + segment.bytes.length)
      if (from < to) memory.set(segment.bytes.subarray(from - segment.at, to - segment.at), from)
    }
  }
}

/** Large stretches of memory that the host has filled from files, the last ones. */
export class Brought {
  readonly #read: ReadSource
  readonly #ranges: Range[] = []
  readonly #bytes = new Uint8Array(2 ** 16)

  constructor(read: ReadSource) {
    this.#read = read
  }

  add(calls: Uint8Array): void {
    const reader = new CallReader(calls)
    for (let call = reader.next(); call !== undefined; call = reader.next())
      for (const write of call.writes) {
        if ('bytes' in write) continue
        const { at, source, offset, length } = write
        const last = this.#ranges.at(-1)
        if (last?.end === at && last.source === source && last.offset + last.end - last.at === offset)
          last.end += length
        else {
          this.#ranges.push({ at, end: at + length, source, offset })
          if (this.#ranges.length > mostRanges) this.#ranges.shift()
        }
      }
  }

  /** Whether any of the bytes came from a file. */
  touches(at: number, length: number): boolean {
    return this.#ranges.some(range => range.at < at + length && at < range.end)
  }

  /** Where in a file the bytes, which are at an address, came from, and how many of them. */
  find(at: number, bytes: Uint8Array): { source: number; offset: number; length: number } | undefined {
    for (let i = this.#ranges.length - 1; i >= 0; i--) {
      const { at: start, end, source, offset } = this.#ranges[i] as Range
      if (at < start || at >= end) continue
      const length = Math.min(bytes.length, end - at, this.#bytes.length)
      const there = this.#bytes.subarray(0, length)
      try {
        this.#read(source, offset + at - start, there)
      } catch {
        return undefined
      }
      if (Buffer.compare(there, bytes.subarray(0, length)) !== 0) return undefined
      return { source, offset: offset + at - start, length }
    }
    return undefined
  }
}
const mostRanges = 32
interface Range {
  readonly at: number
  end: number
  readonly source: number
  readonly offset: number
}

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
interface Runs {
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
    let count = 0
    for (let i = from; i < to; i++) if (bytes[i] !== 0) count++
    counts.set(page, (counts.get(page) ?? 0) + count)
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
    const shift = (at % pageBytes) - from
    let same = made !== undefined
    for (let i = from; same && i < to; i++) same = made?.[i + shift] === bytes[i]
    if (!same) {
      found.delete(page)
      return
    }
    whole.first = Math.min(whole.first, at)
    whole.last = Math.max(whole.last, at + to - from - 1)
  })
  return found
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

function encodeInputs(
  log: Uint8Array,
  image: Image,
  brought: Brought,
  references: References | undefined,
  needed: Reference[],
): Uint8Array {
  const words = new Uint32Array(log.buffer, log.byteOffset, log.length / 4)
  const { keys, counts, bytes: logged } = runsOf(words)
  const bytes = new Uint8Array(logged)
  const all = new Writer(4096)
  const w = new Writer(1024)
  let end = 0
  const put = (start: number, length: number, what: number): void => {
    w.u32(start - end)
    w.u32(length * 4 + what)
    end = start + length
  }
  const numberOf = (reference: Reference): number => {
    const known = needed.indexOf(reference)
    return known >= 0 ? known : needed.push(reference) - 1
  }
  // What is from `from` to `to` in `bytes`, and `shift` less than where it is in memory, without the zeros at its ends, and in two where many are between.
  const kept = (shift: number, from: number, to: number): void => {
    for (let at = from; at < to; ) {
      while (at < to && bytes[at] === 0) at++
      if (at === to) return
      let last = at
      for (let i = at + 1; i < to && i - last <= leastZeros; i++) if (bytes[i] !== 0) last = i
      put(shift + at, last + 1 - at, kind.bytes)
      all.bytes(bytes, at, last + 1)
      at = last + 1
    }
  }
  const plain = (shift: number, first: number, last: number): void => {
    if (!image.touches(shift + first, last - first)) return kept(shift, first, last)
    for (let from = first; from < last; ) {
      const same = image.same(shift + from, bytes, from, last)
      if (same > 7 || same === last - from) {
        put(shift + from, same, kind.image)
        from += same
        continue
      }
      let to = from + Math.max(same, 1)
      while (to < last && image.same(shift + to, bytes, to, last) < 8) to++
      kept(shift, from, to)
      from = to
    }
  }
  const runs = { bytes, starts: new Float64Array(keys.length), ends: new Uint32Array(keys.length), count: 0 }
  let n = 0
  for (let run = 0; run < keys.length; ) {
    const start = Math.floor((keys[run] as number) / mostRuns) - n
    runs.starts[runs.count] = start + n
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
    runs.ends[runs.count++] = n
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
        if (known.first >= end) {
          put(known.first, known.last + 1 - known.first, kind.page)
          w.u32(numberOf(known.reference))
        }
        from += Math.min(last - from, toNext)
        continue
      }
      const rest = last - from >= leastFileRun ? bytes.subarray(from, last) : undefined
      const file = rest === undefined ? undefined : brought.find(shift + from, rest)
      if (file !== undefined && file.length >= leastFileRun) {
        put(shift + from, file.length, kind.file)
        w.u32(file.source)
        w.u64(file.offset)
        from += file.length
        continue
      }
      const page =
        rest !== undefined && rest.length >= leastPageRun ? references?.find(shift + from, rest) : undefined
      if (page !== undefined && page.length >= leastPageRun) {
        put(shift + from, page.length, kind.page)
        w.u32(numberOf(page.reference))
        from += page.length
        continue
      }
      // The next page may be one that can be made again.
      const to = references === undefined ? last : Math.min(last, from + toNext)
      plain(shift, from, to)
      from = to
    }
    first = last
  }
  const length = w.length
  all.bytes(w.view(), 0, length)
  const tail = new Uint8Array(4)
  new DataView(tail.buffer).setUint32(0, length, true)
  all.bytes(tail, 0, 4)
  return all.take()
}
