// Where the instructions of a rewritten body were in the module that was decoded.
//
// Func.origins is an array of pairs, ascending: from byte `pair[0]` of the body on, the code was at byte `pair[1]` of the decoded module.
// With the top bit of pair[1] clear it goes on in step (copied code); with the bit set, all up to the next pair is what a pass wrote for the
// one instruction at that place.
import type { Func } from './module.ts'

const WRITTEN = 0x8000_0000

/** The place in the decoded module of the code at byte `at` of the function's body; -1 for what never was there. */
export function originAt(func: Func, at: number): number {
  const { origins } = func
  if (origins === undefined) return func.offset < 0 ? -1 : func.offset + at
  let low = 0
  let high = origins.length / 2
  while (low < high) {
    const middle = (low + high) >> 1
    if ((origins[2 * middle] as number) <= at) low = middle + 1
    else high = middle
  }
  if (low === 0) return -1
  const from = origins[2 * low - 2] as number
  const place = origins[2 * low - 1] as number
  return place >= WRITTEN ? place - WRITTEN : place + at - from
}

/**
 * The origins of a body in which code moved: `moved` has pairs, ascending: from this old place on, everything stands so many bytes later.
 * `undefined` if it needs none.
 */
export function moveOrigins(func: Func, moved: readonly number[]): Uint32Array | undefined {
  const { origins } = func
  if (moved.length === 0 || (origins === undefined && func.offset < 0)) return origins
  const old = origins ?? Uint32Array.of(0, func.offset)
  const pairs = new Uint32Array(old.length + moved.length)
  let length = 0
  let by = 0
  let m = 0
  for (let o = 0; o < old.length; o += 2) {
    const at = old[o] as number
    const place = old[o + 1] as number
    const end = o + 2 < old.length ? (old[o + 2] as number) : func.body.length
    while (m < moved.length && (moved[m] as number) <= at) by = moved[(m += 2) - 1] as number
    pairs[length++] = at + by
    pairs[length++] = place
    // Copied code is in step again behind the index.
    for (; m < moved.length && (moved[m] as number) < end; m += 2) {
      by = moved[m + 1] as number
      if (place >= WRITTEN) continue
      pairs[length++] = (moved[m] as number) + by
      pairs[length++] = place + (moved[m] as number) - at
    }
  }
  return pairs.slice(0, length)
}

/** Notes the origins while a body is rewritten. One for all bodies: `start` begins the next. */
export class OriginNotes {
  #pairs: Uint32Array = new Uint32Array(1024)
  #length = 0
  #func: Func | undefined
  #pair = 0

  start(func: Func): void {
    this.#func = func.origins === undefined && func.offset < 0 ? undefined : func
    this.#length = 0
    this.#pair = 0
  }

  #note(at: number, place: number): void {
    if (this.#length + 2 > this.#pairs.length) {
      const grown = new Uint32Array(this.#pairs.length * 2)
      grown.set(this.#pairs)
      this.#pairs = grown
    }
    this.#pairs[this.#length++] = at
    this.#pairs[this.#length++] = place
  }

  /** The old body's [from, to) was copied to `at`. Calls come in ascending order of `from`. */
  copied(at: number, from: number, to: number): void {
    const func = this.#func
    if (func === undefined || from === to) return
    const { origins } = func
    if (origins === undefined) return this.#note(at, func.offset + from)
    this.#seek(origins, from)
    this.#noteOld(at, origins, from, false)
    while (2 * this.#pair + 2 < origins.length && (origins[2 * this.#pair + 2] as number) < to) {
      this.#pair++
      const start = origins[2 * this.#pair] as number
      this.#note(at + start - from, origins[2 * this.#pair + 1] as number)
    }
  }

  /** What is written from `at` on stands for the instruction at `from` of the old body. */
  written(at: number, from: number): void {
    const func = this.#func
    if (func === undefined) return
    const { origins } = func
    if (origins === undefined) return this.#note(at, (func.offset + from) | WRITTEN)
    this.#seek(origins, from)
    this.#noteOld(at, origins, from, true)
  }

  /** Goes to the last pair at or before `from`. */
  #seek(origins: Uint32Array, from: number): void {
    while (2 * this.#pair + 2 < origins.length && (origins[2 * this.#pair + 2] as number) <= from)
      this.#pair++
  }
  #noteOld(at: number, origins: Uint32Array, from: number, written: boolean): void {
    const start = origins[2 * this.#pair] as number
    const place = origins[2 * this.#pair + 1] as number
    if (place === undefined || start > from) return
    if (place >= WRITTEN) this.#note(at, place)
    else this.#note(at, written ? (place + from - start) | WRITTEN : place + from - start)
  }

  /** The pairs of the body, `undefined` for a function that no module had. */
  take(): Uint32Array | undefined {
    return this.#func === undefined ? undefined : this.#pairs.slice(0, this.#length)
  }

  /** The place in the decoded module of the instruction at `from` of the old body, -1 if it has none. */
  place(from: number): number {
    return this.#func === undefined ? -1 : originAt(this.#func, from)
  }
}
