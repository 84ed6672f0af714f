/**
 * Traces: references that a program has made, in the formats that people have.
 *
 *   lackey     valgrind --tool=lackey --trace-mem=yes: `I  04016b80,3`, ` L 1ffe,8`, ` S 1ffe,8`, ` M 1ffe,4` (a load, then a store)
 *   din        Dinero: label (0 read, 1 write, 2 fetch, 3 other read) and hex address; 4 bytes each, as Dinero IV has it
 *   xdin       Dinero IV, extended: r, w, i or m, hex address, hex size
 *   ls         loads and stores: `l 0x1fffff58 1`, l or s, a hex address, and how many instructions ago the one before was: reads and writes of 4 bytes
 *   dinb       Dinero IV, binary: 32-bit address, 16-bit size, label, padding
 *   pixie32, pixie64  of MIPS programs; see pixie.ts
 *   addresses  one a line, `0x1f80` or 8064, R, W or I behind it, `3:` before it for process 3. Numbers with digits a to f are hex, all
 *              of them if one is; `hex` says so from the start
 *   u32, u64   binary addresses, little endian: reads of one byte
 *   lethe      binary: `LETHETR1`, then records
 *
 * A record has 64 bits, little endian: address 0..47, size 48..59, kind 60..63 (0 read, 1 write, 2 fetch, 3 other read; 15: the address is the process
 * whose references follow). Reading is a stream: a chunk of bytes in, records out, nothing kept but an unfinished line.
 */
import { MachineError } from './errors.ts'
import { PixieDecoder } from './pixie.ts'
import { type BinaryFormat, decodeRecords, recordBytes } from './trace-binary.ts'

export const traceFormats = [
  'lackey',
  'din',
  'xdin',
  'ls',
  'dinb',
  'pixie32',
  'pixie64',
  'addresses',
  'hex',
  'u32',
  'u64',
  'lethe',
] as const
export type TraceFormat = (typeof traceFormats)[number]

export const kinds = { read: 0, write: 1, fetch: 2, other: 3, process: 15 } as const
export const magic = 'LETHETR1'

/** Takes full buffers of records: `count` of them, two words each in `words`. */
export type Sink = (words: Uint32Array, count: number) => void

const code = (text: string): number => text.charCodeAt(0)
const newline = 10
const space = 32

/** Value of a hex digit, or 255. */
const digit = new Uint8Array(256).fill(255)
for (let i = 0; i < 10; i++) digit[code('0') + i] = i
for (let i = 0; i < 6; i++) digit[code('a') + i] = digit[code('A') + i] = 10 + i

/** The format of a trace from its name and first bytes; undefined if it is none that we know. */
export function detectFormat(name: string, head: Uint8Array): TraceFormat | undefined {
  const text = new TextDecoder('latin1').decode(head.subarray(0, 65_536))
  if (text.startsWith(magic)) return 'lethe'
  const plain = name.replace(/\.(gz|zst)$/, '')
  const ending = /\.(din|xdin|ls|dinb|pixie32|pixie64|hex|u32|u64)$/.exec(plain)?.[1]
  if (ending !== undefined) return ending as TraceFormat
  const lines = text
    .split('\n')
    .slice(0, -1)
    .filter(line => !/^(==|--|[#*]|\s*$)/.test(line))
  const sample = (text.endsWith('\n') ? lines : lines.length > 0 ? lines : text.split('\n')).slice(0, 50)
  if (sample.length === 0) return text.trim() === '' ? 'addresses' : undefined
  // A line that is wrong is to be named by the reader.
  const all = (shape: RegExp): boolean =>
    sample.filter(line => shape.test(line)).length >= 0.8 * sample.length
  if (all(/^(I {2}| [LSM] )[0-9a-f]+,\d+\s*$/i)) return 'lackey'
  if (all(/^\s*[ls]\s+(0x)?[0-9a-f]+(\s+\d+)?\s*$/i)) return 'ls'
  if (all(/^\s*[rwimRWIM]\s+(0x)?[0-9a-f]+\s+[0-9a-f]+/i)) return 'xdin'
  if (all(/^\s*[0-4]\s+(0x)?[0-9a-f]+/i)) return 'din'
  if (all(/^\s*(\d+:)?\s*(0x)?[0-9a-f]+([\s,]+[rwif]?\s*)?$/i))
    return sample.some(line => /^\s*(\d+:)?\s*(0x)?\d*[a-f]/i.test(line) && !/0x/i.test(line))
      ? 'hex'
      : 'addresses'
  return undefined
}

export class TraceReader {
  readonly #name: string
  readonly #format: TraceFormat
  readonly #sink: Sink
  readonly #words: Uint32Array
  readonly #most: number
  readonly #pixie: PixieDecoder | undefined
  #count = 0
  #rest: Uint8Array = new Uint8Array(0)
  /** Lines, or bytes of binary formats, that have been read. */
  #line = 0
  #started = false
  #process = 0
  /** Where the last number ended. */
  #at = 0
  #high = 0

  /** `records`: how many the sink gets at once. */
  constructor(name: string, format: TraceFormat, sink: Sink, records = 16_384) {
    this.#name = name
    this.#format = format
    this.#sink = sink
    this.#most = records
    this.#words = new Uint32Array(records * 2)
    if (format === 'pixie32' || format === 'pixie64')
      this.#pixie = new PixieDecoder(format === 'pixie32' ? 32 : 64, (address, size, kind) =>
        this.#emit(address, 0, size, kind),
      )
  }

  /** The next bytes of the trace; `last`: nothing comes after them. MachineError 'trace', with the line. */
  push(chunk: Uint8Array, last: boolean): void {
    let bytes = chunk
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + chunk.length)
      bytes.set(this.#rest)
      bytes.set(chunk, this.#rest.length)
    }
    const used = this.#isText() ? this.#lines(bytes, last) : this.#binary(bytes, last)
    this.#rest = bytes.slice(used)
    if (!last) return
    this.flush()
  }

  /** Nothing is kept of what has been pushed, so that who can may take what follows by himself. */
  get between(): boolean {
    return this.#started && this.#rest.length === 0
  }

  /** Somebody else has taken these bytes. */
  skip(bytes: number): void {
    this.#line += bytes
  }

  /** Gives what is there to the sink. */
  flush(): void {
    if (this.#count > 0) this.#sink(this.#words, this.#count)
    this.#count = 0
  }

  #isText(): boolean {
    return ['lackey', 'din', 'xdin', 'ls', 'addresses', 'hex'].includes(this.#format)
  }

  #wrong(what: string): MachineError {
    const where = this.#isText() ? `line ${this.#line}` : `byte ${this.#line}`
    return new MachineError('trace', `${this.#name}, ${where}: ${what}`)
  }

  #tooHigh(low: number, high: number): MachineError {
    return this.#wrong(
      `the address 0x${high.toString(16)}${low.toString(16).padStart(8, '0')} has more than 48 bits; traces of user programs have fewer`,
    )
  }

  #noSize(size: number): MachineError {
    return this.#wrong(`an access of ${size} bytes; there are those of 1 to 4095`)
  }

  #noLabel(label: number): MachineError {
    return this.#wrong(`label ${label}: there are 0 read, 1 write, 2 fetch and 3 for other reads`)
  }

  #emit(low: number, high: number, size: number, kind: number): void {
    if (high > 0xffff) throw this.#tooHigh(low, high)
    if (size < 1 || size > 4095) throw this.#noSize(size)
    const at = this.#count * 2
    this.#words[at] = low
    this.#words[at + 1] = high | (size << 16) | (kind << 28)
    if (++this.#count === this.#most) this.flush()
  }

  #switchTo(process: number): void {
    if (process === this.#process) return
    this.#process = process
    this.#emit(process, 0, 1, kinds.process)
  }

  // --- binary ---

  #binary(bytes: Uint8Array, last: boolean): number {
    let at = 0
    if (this.#format === 'lethe' && !this.#started) {
      if (bytes.length < magic.length && !last) return 0
      if (new TextDecoder('latin1').decode(bytes.subarray(0, magic.length)) !== magic)
        throw this.#wrong(`it does not begin with ${magic}`)
      at = magic.length
      this.#line = at
    }
    this.#started = true
    const format = this.#format
    const length = format === 'pixie32' ? 4 : format === 'pixie64' ? 8 : recordBytes[format as BinaryFormat]
    const end = bytes.length - ((bytes.length - at) % length)
    if (this.#pixie !== undefined) this.#pixieWords(this.#pixie, bytes, at, end, length)
    else this.#wholeRecords(format as BinaryFormat, bytes.subarray(at, end))
    if (last && end < bytes.length)
      throw this.#wrong(
        `the last record has ${bytes.length - end} of ${length} bytes: the trace has been cut off, or has another format`,
      )
    return end
  }

  #wholeRecords(format: BinaryFormat, bytes: Uint8Array): void {
    // Words are read as such, and that wants them where words can be.
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes)
    const given = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4)
    const words = new Int32Array(this.#words.buffer)
    const length = recordBytes[format]
    for (let i = 0; i < given.length; ) {
      const count = Math.min(this.#most - this.#count, (given.length - i) / (length / 4))
      const done = decodeRecords(format, given, i, count, words, this.#count * 2)
      this.#count += done
      this.#line += done * length
      i += done * (length / 4)
      if (done < count) throw this.#noRecord(format, given[i] as number, given[i + 1] as number)
      if (this.#count === this.#most) this.flush()
    }
  }

  #noRecord(format: BinaryFormat, low: number, high: number): MachineError {
    const label = format === 'dinb' ? (high >>> 16) & 0xff : high >>> 28
    if (format === 'u64') return this.#tooHigh(low >>> 0, high >>> 0)
    if (format === 'dinb' && label > kinds.other) return this.#noLabel(label)
    if (format === 'lethe' && label > kinds.other) return this.#wrong(`there is no record of kind ${label}`)
    return this.#noSize(format === 'dinb' ? high & 0xffff : (high >>> 16) & 0xfff)
  }

  #pixieWords(pixie: PixieDecoder, bytes: Uint8Array, from: number, end: number, length: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = from; at < end; at += length, this.#line += length) {
      const wrong = pixie.word(length === 8 ? view.getUint32(at) : 0, view.getUint32(at + length - 4))
      if (wrong !== undefined) throw this.#wrong(wrong)
    }
  }

  // --- text ---

  #lines(bytes: Uint8Array, last: boolean): number {
    let start = 0
    for (;;) {
      let end = bytes.indexOf(newline, start)
      if (end < 0) {
        if (!last || start >= bytes.length) return start
        end = bytes.length
      }
      this.#line++
      this.#oneLine(bytes, start, bytes[end - 1] === 13 && end > start ? end - 1 : end)
      start = end + 1
      if (start > bytes.length) return bytes.length
    }
  }

  #oneLine(bytes: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end && (bytes[at] === space || bytes[at] === 9)) at++
    // A remark, or the `*` that separates parts of some page traces.
    if (at === end || bytes[at] === 35 || bytes[at] === 42) return
    if (this.#format === 'lackey') this.#lackey(bytes, start, at, end)
    else if (this.#format === 'din') this.#din(bytes, at, end)
    else if (this.#format === 'xdin') this.#xdin(bytes, at, end)
    else if (this.#format === 'ls') this.#loadsStores(bytes, at, end)
    else this.#plain(bytes, at, end)
  }

  #text(bytes: Uint8Array, start: number, end: number): string {
    return new TextDecoder('latin1').decode(bytes.subarray(start, Math.min(end, start + 40)))
  }

  /** A number with digits below `base` from `at` on: its low 32 bits; `#high` has the others and `#at` where it ends. -1 if there is none. */
  #number(bytes: Uint8Array, at: number, end: number, base: 10 | 16): number {
    let p = at
    let radix: number = base
    if (bytes[p] === 48 && p + 1 < end && ((bytes[p + 1] as number) | 32) === 120) {
      radix = 16
      p += 2
    }
    let low = 0
    let high = 0
    const first = p
    for (; p < end; p++) {
      const d = digit[bytes[p] as number] as number
      if (d >= radix) break
      if (radix === 16) {
        high = ((high << 4) | (low >>> 28)) >>> 0
        low = ((low << 4) | d) >>> 0
        if (p - first >= 16) return -1
      } else {
        const product = low * 10 + d
        high = high * 10 + Math.floor(product / 2 ** 32)
        low = product >>> 0
        if (high > 0xffffffff) return -1
      }
    }
    if (p === first) return -1
    this.#at = p
    this.#high = high
    return low
  }

  /** A number that is no address: all of it, or -1. */
  #whole(bytes: Uint8Array, at: number, end: number, base: 10 | 16): number {
    const low = this.#number(bytes, at, end, base)
    return low < 0 ? low : this.#high * 2 ** 32 + low
  }

  #skip(bytes: Uint8Array, at: number, end: number): number {
    let p = at
    while (p < end && (bytes[p] === space || bytes[p] === 9)) p++
    return p
  }

  #lackey(bytes: Uint8Array, start: number, first: number, end: number): void {
    const letter = bytes[first] as number
    // Valgrind's own lines, and what the program itself prints between them.
    if (letter === 61 || letter === 45 || letter === 42) return
    const at = this.#skip(bytes, first + 1, end)
    const low = this.#number(bytes, at, end, 16)
    const high = this.#high
    if (low < 0 || at === first + 1 || bytes[this.#at] !== 44)
      throw this.#wrong(
        `'${this.#text(bytes, start, end)}' is no record: ' L address,size' with L, S, M or I`,
      )
    const size = this.#whole(bytes, this.#at + 1, end, 10)
    if (size < 0 || this.#skip(bytes, this.#at, end) !== end)
      throw this.#wrong(`'${this.#text(bytes, start, end)}' has no size`)
    if (letter === 76) this.#emit(low, high, size, kinds.read)
    else if (letter === 83) this.#emit(low, high, size, kinds.write)
    else if (letter === 73) this.#emit(low, high, size, kinds.fetch)
    else if (letter === 77) {
      this.#emit(low, high, size, kinds.read)
      this.#emit(low, high, size, kinds.write)
    } else throw this.#wrong(`'${this.#text(bytes, start, end)}': there are L, S, M and I`)
  }

  #din(bytes: Uint8Array, first: number, end: number): void {
    const label = this.#whole(bytes, first, end, 16)
    const at = label < 0 ? end : this.#skip(bytes, this.#at, end)
    const low = this.#number(bytes, at, end, 16)
    const high = this.#high
    if (label < 0 || low < 0)
      throw this.#wrong(
        `'${this.#text(bytes, first, end)}' is no record: a label from 0 to 3 and a hex address`,
      )
    if (label > 3) throw this.#noLabel(label)
    this.#emit((low & ~3) >>> 0, high, 4, label)
  }

  #xdin(bytes: Uint8Array, first: number, end: number): void {
    const letter = (bytes[first] as number) | 32
    const low = this.#number(bytes, this.#skip(bytes, first + 1, end), end, 16)
    const high = this.#high
    const size = low < 0 ? -1 : this.#whole(bytes, this.#skip(bytes, this.#at, end), end, 16)
    const kind =
      letter === 114 ? kinds.read : letter === 109 ? kinds.other : letter === 119 ? kinds.write : kinds.fetch
    if (low < 0 || size < 0 || (kind === kinds.fetch && letter !== 105))
      throw this.#wrong(
        `'${this.#text(bytes, first, end)}' is no record: r, w, i or m, a hex address and a hex size`,
      )
    this.#emit(low, high, size, kind)
  }

  #loadsStores(bytes: Uint8Array, first: number, end: number): void {
    const letter = (bytes[first] as number) | 32
    const low = this.#number(bytes, this.#skip(bytes, first + 1, end), end, 16)
    if (low < 0 || (letter !== 108 && letter !== 115))
      throw this.#wrong(`'${this.#text(bytes, first, end)}' is no record: l or s, and a hex address`)
    this.#emit(low, this.#high, 4, letter === 108 ? kinds.read : kinds.write)
  }

  #plain(bytes: Uint8Array, first: number, end: number): void {
    let low = this.#number(bytes, first, end, this.#format === 'hex' ? 16 : 10)
    const wrong = (): MachineError =>
      this.#wrong(
        `'${this.#text(bytes, first, end)}' is no record: an address such as 0x1f80, with R, W or I behind it and a process like 3: before it if need be`,
      )
    if (low >= 0 && bytes[this.#at] === 58) {
      const process = this.#whole(bytes, first, end, 10)
      if (process < 1 || process >= 2 ** 20) throw this.#wrong(`process ${process}: there are 1 to 1048575`)
      this.#switchTo(process)
      low = this.#number(bytes, this.#skip(bytes, this.#at + 1, end), end, this.#format === 'hex' ? 16 : 10)
    }
    if (low < 0) throw wrong()
    const high = this.#high
    let at = this.#at
    while (at < end && (bytes[at] === space || bytes[at] === 9 || bytes[at] === 44)) at++
    const letter = at < end ? (bytes[at] as number) | 32 : 114
    if (at < end && at === this.#at) throw wrong()
    const kind =
      letter === 114
        ? kinds.read
        : letter === 119
          ? kinds.write
          : letter === 105 || letter === 102
            ? kinds.fetch
            : -1
    if (kind < 0 || this.#skip(bytes, at + 1, end) < end) throw wrong()
    this.#emit(low, high, 1, kind)
  }
}
