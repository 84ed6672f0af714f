// The shadow of the guest's memory, from the side of JavaScript: layout.ts says what its words mean.
import type { EngineMemory } from '../guest/engine.ts'
import {
  BITS_APART,
  DEFINED,
  MIXED,
  MIXED_ADDRESSABLE,
  ORIGIN_MASK,
  SHADOW_APART,
  TAG_LIMIT,
  UNADDRESSABLE,
  UNDEFINED,
} from './layout.ts'

/** Where the shadow word that an address is in, and the bits of a byte, are in their memories (layout.ts). */
const place = (at: number): number => ((at + SHADOW_APART) >>> 0) >>> 2
/** Bytes that are copied at once if all of them are defined. */
const PIECE = 64
const isWhole = (word: number): boolean =>
  word < MIXED ? word !== UNADDRESSABLE : ((word >>> MIXED_ADDRESSABLE) & 15) === 15
const bitsPlace = (at: number): number => (at + BITS_APART) >>> 0

export class Shadow {
  readonly #words: Uint32Array
  /** Undefined bits of the bytes of mixed words. */
  readonly #bits: Uint8Array

  constructor(words: EngineMemory, bits: EngineMemory) {
    this.#words = new Uint32Array(words.buffer)
    this.#bits = new Uint8Array(bits.buffer)
  }

  /** The word that an address is in. */
  word(at: number): number {
    return this.#words[place(at)] as number
  }

  set(at: number, word: number): void {
    this.#words[place(at)] = word
  }

  addressable(at: number): boolean {
    const word = this.word(at)
    if (word < MIXED) return word !== UNADDRESSABLE
    return ((word >>> (MIXED_ADDRESSABLE + (at & 3))) & 1) !== 0
  }

  /** The undefined bits of a byte; of one that may not be touched: all. */
  bits(at: number): number {
    const word = this.word(at)
    if (word === UNADDRESSABLE) return 0xff
    if (word < UNDEFINED) return 0
    if (word < MIXED) return 0xff
    if (!this.addressable(at)) return 0xff
    return this.#bits[bitsPlace(at)] as number
  }

  /** The origin of a byte's undefined bits, as a T, or 0. */
  origin(at: number): number {
    const word = this.word(at)
    return word >= UNDEFINED ? (TAG_LIMIT | (word & ORIGIN_MASK)) >>> 0 : 0
  }

  /** The tag of the pointer that is kept in an aligned word, or 0. */
  tag(at: number): number {
    const word = this.word(at)
    return word < UNDEFINED ? (word & ~7) >>> 0 : 0
  }

  /** A defined, aligned word with a pointer. */
  setPointer(at: number, tag: number): void {
    this.set(at, tag < TAG_LIMIT ? tag | DEFINED : DEFINED)
  }

  /** One byte of a word that may be touched becomes defined: what a program does that fills a block byte by byte. */
  defineByte(at: number): void {
    const word = this.word(at)
    if (word < UNDEFINED) return this.set(at, DEFINED)
    const first = bitsPlace(at - (at & 3))
    const bits = this.#bits
    if (word < MIXED) {
      bits.fill(0xff, first, first + 4)
      this.set(at, (MIXED | (15 << MIXED_ADDRESSABLE) | (word & ORIGIN_MASK)) >>> 0)
    }
    bits[bitsPlace(at)] = 0
    if (this.word(at) >>> MIXED_ADDRESSABLE !== 31) return
    const rest = (bits[first] as number) | (bits[first + 1] as number) | (bits[first + 2] as number)
    if ((rest | (bits[first + 3] as number)) === 0) this.set(at, DEFINED)
  }

  setByte(at: number, addressable: boolean, bits: number, origin: number): void {
    const first = at - (at % 4)
    let mask = 0
    let defined = true
    let undefined_ = true
    const kept = this.word(first) >= UNDEFINED ? this.word(first) & ORIGIN_MASK : 0
    const states = [0, 0, 0, 0]
    for (let i = 0; i < 4; i++) {
      const here = first + i
      const own = here === at
      const may = own ? addressable : this.addressable(here)
      const v = own ? bits : this.bits(here)
      if (may) {
        mask |= 1 << i
        if (v !== 0) defined = false
        if (v !== 0xff) undefined_ = false
      }
      states[i] = v
    }
    const from = bits !== 0 ? origin & ORIGIN_MASK : kept
    if (mask === 0) this.set(first, UNADDRESSABLE)
    else if (mask === 15 && defined) this.set(first, DEFINED)
    else if (mask === 15 && undefined_) this.set(first, UNDEFINED | from)
    else {
      this.set(first, (MIXED | (mask << MIXED_ADDRESSABLE) | from) >>> 0)
      this.#bits.set(states, bitsPlace(first))
    }
  }

  // Whole words at once, the bytes at both ends one by one.
  #range(at: number, length: number, word: number, byte: (at: number) => void): void {
    const end = at + length
    let from = at
    while (from < end && from % 4 !== 0) byte(from++)
    const whole = end - (end % 4)
    if (whole > from) {
      this.#fill(word, from, whole)
      from = whole
    }
    while (from < end) byte(from++)
  }

  setDefined(at: number, length: number): void {
    this.#range(at, length, DEFINED, one => this.setByte(one, true, 0, 0))
  }

  // Aligned addresses. The end of addresses is not that of the words.
  #fill(word: number, from: number, to: number): void {
    const first = place(from)
    const last = first + (to - from) / 4
    this.#words.fill(word, first, last)
    if (last > this.#words.length) this.#words.fill(word, 0, last - this.#words.length)
  }

  setUnaddressable(at: number, length: number): void {
    this.#range(at, length, UNADDRESSABLE, one => this.setByte(one, false, 0xff, 0))
  }

  /** Bytes of [at, at + length) that may be touched become defined. */
  settle(at: number, length: number): void {
    for (let i = at; i < at + length; i++) {
      const word = this.word(i)
      if (word < UNDEFINED) {
        // Nothing else in the word can be undefined; a pointer is none any more.
        if (word !== UNADDRESSABLE) this.set(i, DEFINED)
        i += 3 - (i & 3)
      } else if (i % 4 === 0 && i + 4 <= at + length && word < MIXED) {
        this.set(i, DEFINED)
        i += 3
      } else if (this.addressable(i)) this.setByte(i, true, 0, 0)
    }
  }

  /** The first byte of a range that may not be touched, or -1. */
  findUnaddressable(at: number, length: number): number {
    const end = at + length
    for (let i = at; i < end; i++) {
      const word = this.word(i)
      if (word === UNADDRESSABLE || (word >= MIXED && !this.addressable(i))) return i
      if (word < MIXED) i += 3 - (i & 3)
    }
    return -1
  }

  /** The first byte of a range with undefined bits, or -1. */
  findUndefined(at: number, length: number): number {
    const end = at + length
    for (let i = at; i < end; i++) {
      const word = this.word(i)
      if (word !== UNADDRESSABLE && word < UNDEFINED) i += 3 - (i & 3)
      else if (this.bits(i) !== 0) return i
    }
    return -1
  }

  /** Copies the shadow of bytes, also where both overlap; pointers keep their tags where words meet words. */
  copy(to: number, from: number, length: number): void {
    if (length <= 0) return
    if ((to - from) % 4 !== 0) return this.#copyBytes(to, from, length)
    const head = Math.min(length, (4 - (from % 4)) % 4)
    const words = (length - head) >>> 2
    const tail = length - head - 4 * words
    const forward = to <= from
    if (forward) this.#copyBytes(to, from, head)
    else this.#copyBytes(to + head + 4 * words, from + head + 4 * words, tail)
    this.#copyWords(to + head, from + head, words)
    if (forward) this.#copyBytes(to + head + 4 * words, from + head + 4 * words, tail)
    else this.#copyBytes(to, from, head)
  }

  #copyWords(to: number, from: number, count: number): void {
    const words = this.#words
    const a = place(from)
    const b = place(to)
    // What goes on at 0 is not copied at once.
    if (Math.max(a, b) + count > words.length) return this.#copyBytes(to, from, 4 * count)
    // Mixed words have bits beside. Where the program has no business, which has been told, nothing becomes or is such a place by a copy.
    const isOdd = (i: number): boolean => {
      const word = words[a + i] as number
      return word >= MIXED || word === UNADDRESSABLE || words[b + i] === UNADDRESSABLE
    }
    if (to <= from)
      for (let i = 0; i < count; i++) {
        const first = i
        while (i < count && !isOdd(i)) i++
        words.copyWithin(b + first, a + first, a + i)
        if (i < count) this.#copyOdd(to + 4 * i, from + 4 * i)
      }
    else
      for (let i = count; i > 0; i--) {
        const last = i
        while (i > 0 && !isOdd(i - 1)) i--
        words.copyWithin(b + i, a + i, a + last)
        if (i > 0) this.#copyOdd(to + 4 * (i - 1), from + 4 * (i - 1))
      }
  }

  // One word, in whole words of the guest's.
  #copyOdd(to: number, from: number): void {
    const word = this.word(from)
    if (word < MIXED || !isWhole(word) || !isWhole(this.word(to))) return this.#copyBytes(to, from, 4)
    this.set(to, word)
    this.#bits.copyWithin(bitsPlace(to), bitsPlace(from), bitsPlace(from) + 4)
  }

  // Piece by piece: what is undefined is mostly together.
  #copyBytes(to: number, from: number, length: number): void {
    if (to <= from)
      for (let i = 0; i < length; i += PIECE)
        this.#copyPiece(to + i, from + i, Math.min(PIECE, length - i), true)
    else
      for (let end = length; end > 0; end -= PIECE) {
        const i = Math.max(0, end - PIECE)
        this.#copyPiece(to + i, from + i, end - i, false)
      }
  }

  #copyPiece(to: number, from: number, length: number, forward: boolean): void {
    if (this.findUndefined(from, length) < 0) return this.settle(to, length)
    const one = (i: number): void => {
      if (!this.addressable(to + i)) return
      const source = from + i
      this.setByte(to + i, true, this.bits(source), this.origin(source))
    }
    if (forward) for (let i = 0; i < length; i++) one(i)
    else for (let i = length - 1; i >= 0; i--) one(i)
  }
}
