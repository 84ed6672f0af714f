/**
 * Traces of MIPS programs as pixie writes them (`pixie -idtrace`, `-idtrace_ext`), big endian. A word is a basic block's beginning, or a load or store;
 * its count says how many instructions follow before the next word.
 *
 *   32 bits   count 31..28, type 27..24, address 23..0
 *   64 bits   count 63..56, type 55..48, address 47..0, of which the low 32 bits are used; the first word is a header of type 15
 *
 * A block's address counts in instructions, in the 64-bit format from where the program's text begins. Only programs without shared
 * libraries are traced so.
 */
const block = 12
const annulled = 13
const systemCall = 14
const header = 15
const mapHigh = 17
const mapLow = 18
const movedDynamic = 27
const dataSegments = 28

const stores: readonly number[] = [2, 3, 4, 5, 6, 7, 10, 11]
const doubles: readonly number[] = [1, 3, 9, 11]
const kinds = { read: 0, write: 1, fetch: 2, other: 3 }

export class PixieDecoder {
  readonly #wide: boolean
  readonly #emit: (address: number, size: number, kind: number) => void
  #instruction = 0xffff_ffff
  #text = 0
  #first = true

  constructor(bits: 32 | 64, emit: (address: number, size: number, kind: number) => void) {
    this.#wide = bits === 64
    this.#emit = emit
  }

  /** One word, its halves as two numbers; the upper one is 0 with 32 bits. What is wrong with it, if something is. */
  word(high: number, low: number): string | undefined {
    const count = this.#wide ? high >>> 24 : low >>> 28
    const type = this.#wide ? (high >>> 16) & 0xff : (low >>> 24) & 0xf
    const address = this.#wide ? low : low & 0xff_ffff
    if (this.#wide && this.#first) {
      this.#first = false
      return high >>> 24 === header ? undefined : `a header of type ${high >>> 24} instead of ${header}`
    }
    if (type > systemCall) return this.#about(type, address)
    if (type === block) {
      this.#instruction = (address * 4 + this.#text) >>> 0
      this.#instructions(count)
      return undefined
    }
    this.#instructions(1)
    if (type !== annulled) this.#data(type, address)
    this.#instructions(count)
    return undefined
  }

  #instructions(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#emit(this.#instruction, 4, kinds.fetch)
      this.#instruction = (this.#instruction + 4) >>> 0
    }
  }

  #data(type: number, address: number): void {
    const kind = type === systemCall ? kinds.other : stores.includes(type) ? kinds.write : kinds.read
    // A store of a part of a word: from its beginning to the address, or from the address to its end. The formats name them the other way round.
    const left = this.#wide ? 6 : 7
    const right = this.#wide ? 7 : 6
    if (doubles.includes(type)) this.#emit((address & ~7) >>> 0, 8, kind)
    else if (type === 4) this.#emit(address, 1, kind)
    else if (type === 5) this.#emit((address & ~1) >>> 0, 2, kind)
    else if (type === left) this.#emit((address & ~3) >>> 0, (address % 4) + 1, kind)
    else if (type === right) this.#emit(address, 4 - (address % 4), kind)
    else this.#emit((address & ~3) >>> 0, 4, kind)
  }

  // What the wide format says of the program.
  #about(type: number, address: number): string | undefined {
    if (!this.#wide || type === header || type > 31 || (type > 20 && type < 25))
      return `there is no record of type ${type}`
    if (type === mapHigh) return undefined
    if (type === mapLow) this.#text = (this.#text | address) >>> 0
    if ((type === movedDynamic && address !== 0) || (type === dataSegments && address !== 1))
      return 'the program has shared libraries, and such traces are not read'
    return undefined
  }
}
