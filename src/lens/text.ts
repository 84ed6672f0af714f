/**
 * Text in another encoding, as running programs hold it: CPython (UTF-32, UTF-16, Latin-1), V8 and the JVM (UTF-16,
 * Latin-1), ICU. Little endian. Bytes that are not UTF-8 become U+FFFD, one for each maximal part of a sequence
 * (WHATWG; so do CPython with errors='replace', V8 and Java); so does half a surrogate pair in UTF-16. A byte order mark
 * is a character like any other: where a program dropped it, the copy simply begins later in the view.
 *
 *   utf8-utf16, utf8-utf32   all of it
 *   utf8-latin1              up to the first character above U+00FF
 *   utf16-utf8, utf16-utf32  all of it
 *   utf16-latin1             up to the first character above U+00FF
 *   crlf-lf                  CR LF becomes LF
 *   newlines-lf              CR LF and CR alone become LF (Python's universal newlines)
 *
 * Characters have different widths, so a pass over the backing notes how many units each block of 4 KiB makes; a
 * refill then converts at most one block too many.
 */
import type { Backing } from '../backing/backing.ts'
import {
  AHEAD,
  BLOCK,
  type Conversion,
  conversions,
  type Encoder,
  RUN,
  type TextKernel,
  textKernels,
} from '../kernels/text.ts'
import { BlockIndex, entry } from './block-index.ts'
import { LensError } from './errors.ts'
import type { IndexStore, Lens, Narrowed } from './lens.ts'
import { likelyBytes, likelyLatin1, likelyUtf16, likelyUtf32, likelyUtf8, textSuits } from './text-gates.ts'

/** The way back: what encodes, and the cheap look at memory before it. Decoding UTF-8 is a way back too. */
const backwards: Readonly<
  Record<
    Conversion,
    { readonly encoder: Encoder | 'decode'; readonly likely: (memory: Uint8Array) => boolean }
  >
> = {
  'utf8-utf16': { encoder: 'encode16', likely: likelyUtf16 },
  'utf8-utf32': { encoder: 'encode32', likely: likelyUtf32 },
  'utf8-latin1': { encoder: 'encodeLatin1', likely: likelyLatin1 },
  'utf16-utf8': { encoder: 'decode', likely: likelyUtf8 },
  'utf16-utf32': { encoder: 'utf32To16', likely: likelyUtf32 },
  'utf16-latin1': { encoder: 'widen8', likely: likelyBytes },
  'crlf-lf': { encoder: 'toCrlf', likely: hasLines },
  'newlines-lf': { encoder: 'toCrlf', likely: hasLines },
}

function hasLines(memory: Uint8Array): boolean {
  return memory.includes(10) && !memory.includes(0)
}

const PAUSE_EVERY = 2 ** 20

/** One of the lenses above. */
export function textLens(name: Conversion): Lens {
  const { unit } = conversions[name]
  const { encoder, likely } = backwards[name]
  const indexes = new WeakMap<Backing, BlockIndex>()

  function indexOf(backing: Backing): BlockIndex {
    const index = indexes.get(backing) ?? build(backing)
    indexes.set(backing, index)
    return index
  }

  function build(backing: Backing, pause?: () => void): BlockIndex {
    const { size } = backing
    const entries = new Uint16Array(Math.ceil(size / BLOCK))
    const kernel = textKernels.take()
    try {
      let skipped = 0
      for (let first = 0; first < entries.length; first += RUN) {
        const base = first * BLOCK
        const got = readAll(backing, base, Math.min(size - base, RUN * BLOCK + AHEAD), kernel.input)
        for (let i = 0; i < RUN && first + i < entries.length; i++) {
          const end = Math.min((i + 1) * BLOCK, size - base)
          const units = kernel.measure(name, i * BLOCK + skipped, end, got)
          entries[first + i] = entry(units, skipped, kernel.stoppedEarly || !kernel.fast)
          if (kernel.stoppedEarly) return new BlockIndex(entries.slice(0, first + i + 1))
          skipped = kernel.stopped - end
        }
        if ((base & (PAUSE_EVERY - 1)) === 0) pause?.()
      }
    } finally {
      textKernels.give(kernel)
    }
    return new BlockIndex(entries)
  }

  function readAll(backing: Backing, at: number, length: number, into: Uint8Array): number {
    const got = backing.read(at, into.subarray(0, length))
    if (got === length) return got
    throw new LensError('io', name, `the backing gave ${got} of ${length} bytes; look at it again`, at)
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    if (indexes.has(backing)) return
    const saved = store.load(backing.identity, name)
    if (saved && saved.length % 2 === 0 && saved.length <= 2 * Math.ceil(backing.size / BLOCK)) {
      indexes.set(backing, new BlockIndex(new Uint16Array(saved.slice().buffer)))
      return
    }
    const index = build(backing, pause)
    indexes.set(backing, index)
    const { buffer, byteOffset, byteLength } = index.entries
    store.save(backing.identity, name, new Uint8Array(buffer, byteOffset, byteLength))
  }

  function size(backing: Backing): number {
    return indexOf(backing).total * unit
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const index = indexOf(backing)
    const wanted = Math.max(0, Math.min(out.length, index.total * unit - at))
    out.fill(0, wanted)
    if (wanted === 0) return
    index.find(Math.floor(at / unit))
    let { block } = index
    let skip = at - index.before * unit
    const kernel = textKernels.take()
    try {
      for (let done = 0; done < wanted; ) {
        const careful = index.careful(block)
        let makes = index.units(block) * unit
        let last = block + 1
        while (last < block + RUN && makes - skip < wanted - done && index.careful(last) === careful)
          makes += index.units(last++) * unit
        const produced = run(kernel, backing, index, block, last, careful)
        if (produced !== makes)
          throw new LensError('io', name, 'the backing has changed; look at it again', block * BLOCK)
        const part = Math.min(wanted - done, makes - skip)
        out.set(kernel.output.subarray(skip, skip + part), done)
        done += part
        skip = 0
        block = last
      }
    } finally {
      textKernels.give(kernel)
    }
  }

  /** Converts blocks; bytes made. */
  function run(
    kernel: TextKernel,
    backing: Backing,
    index: BlockIndex,
    block: number,
    last: number,
    careful: boolean,
  ): number {
    const from = index.start(block, backing.size)
    const end =
      index.entries.length > last ? index.start(last, backing.size) : Math.min(backing.size, last * BLOCK)
    const limit = Math.min(backing.size, end + AHEAD)
    readAll(backing, from, limit - from, kernel.input)
    return kernel.convert(name, 0, end - from, limit - from, careful)
  }

  function locate(backing: Backing, offset: number): number | undefined {
    const index = indexOf(backing)
    let block = Math.floor(offset / BLOCK)
    if (offset < 0 || offset >= backing.size || block >= index.entries.length) return undefined
    if (offset < index.start(block, backing.size)) block--
    index.goTo(block)
    const from = index.start(block, backing.size)
    const limit = Math.min(backing.size, offset + AHEAD)
    const kernel = textKernels.take()
    try {
      readAll(backing, from, limit - from, kernel.input)
      const before = index.before * unit + kernel.convert(name, 0, offset - from, limit - from, true)
      if (kernel.stopped !== offset - from || before >= index.total * unit) return undefined
      return before
    } finally {
      textKernels.give(kernel)
    }
  }

  /** Encodes memory from `from` on; the bytes written to `into`. `encoded` is then where the first incomplete character begins. */
  let encoded = 0
  function encode(memory: Uint8Array, from: number, into: Uint8Array): number {
    const kernel = textKernels.take()
    try {
      let written = 0
      encoded = from
      while (encoded < memory.length) {
        const part = memory.subarray(encoded, encoded + RUN * BLOCK)
        kernel.input.set(part)
        const made = encoder === 'decode' ? decode(kernel, part) : kernel.encode(encoder, 0, part.length)
        const { stopped } = kernel
        if (stopped <= 0 || made < 0) break
        into.set(kernel.output.subarray(0, made), written)
        written += made
        encoded += stopped
      }
      return written
    } finally {
      textKernels.give(kernel)
    }
  }

  /** UTF-8 to UTF-16 up to the last whole character; less than 0 if it is not valid. */
  function decode(kernel: TextKernel, part: Uint8Array): number {
    let end = part.length
    for (let back = 1; back <= Math.min(3, end); back++) {
      const byte = part[end - back] ?? 0
      if (byte < 0x80) break
      if (byte < 0xc0) continue
      if (back < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4)) end -= back
      break
    }
    kernel.measure('utf8-utf16', 0, end, end)
    return kernel.fast ? kernel.convert('utf8-utf16', 0, end, end, false) : -1
  }

  function narrow(memory: Uint8Array, into: Uint8Array): Narrowed | undefined {
    if (!likely(memory)) return undefined
    const from = leading(memory)
    const bytes = encode(memory, from, into)
    return memory.length - encoded > incomplete || bytes === 0 ? undefined : { from, bytes }
  }

  /** Bytes at the start of memory that can only be the rest of a character. */
  function leading(memory: Uint8Array): number {
    if (encoder === 'encode16') return ((memory[1] ?? 0) & 0xfc) === 0xdc ? 2 : 0
    let n = 0
    if (encoder === 'decode') while (n < 3 && ((memory[n] ?? 0) & 0xc0) === 0x80) n++
    return n
  }
  const incomplete = encoder === 'encode16' || encoder === 'decode' || unit === 4 ? 3 : 0

  function invert(memory: Uint8Array): Uint8Array | undefined {
    if (name === 'newlines-lf' && memory.includes(13)) return undefined
    const into = new Uint8Array(2 * memory.length + 64)
    const bytes = encode(memory, 0, into)
    return encoded === memory.length ? into.slice(0, bytes) : undefined
  }

  const suits = (backing: Backing): boolean => textSuits(name, backing)

  return { name, size, get, invert, narrow, locate, suits, prepare }
}

/** Any of the names above. */
export function textNamed(name: string): Lens | undefined {
  return Object.hasOwn(conversions, name) ? textLens(name as Conversion) : undefined
}
