/** The laws of src/lens/lens.ts as one suite; every lens runs it. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { applyEdits, type Lens } from '../src/lens/lens.ts'

let made = 0

/** A backing of bytes that we have in hand; no two have the same identity. */
export function bytesBacking(bytes: Uint8Array): Backing {
  const inode = String(++made)
  return {
    size: bytes.length,
    identity: { device: '0', inode, size: bytes.length, mtime: '0', ctime: '0' },
    read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    },
    hold: () => ({ leased: true, release: () => undefined }),
    close: () => undefined,
  }
}

/** toEqual, but quick where they are equal. */
function same(a: Uint8Array, b: Uint8Array): void {
  if (Buffer.compare(a, b) !== 0) expect(a).toEqual(b)
}

function whole(lens: Lens, backing: Backing, beyond = 0): Uint8Array {
  const out = new Uint8Array(lens.size(backing) + beyond).fill(0xdb)
  lens.get(backing, 0, out)
  return out
}

export interface ContractOptions {
  /** Backings that the lens accepts; any bytes if not given. Without `size` an arbitrary of bytes makes ten at most. */
  readonly backings?: fc.Arbitrary<Uint8Array>
  /** Backings of which narrow is asked to recognise at least half of the memory; `backings` if not given. */
  readonly plausible?: fc.Arbitrary<Uint8Array>
  /** Bytes of the element at whose multiples (in the view) memory is cut for narrow. */
  readonly step?: number
  /** What may be put, and at multiples of what; any bytes anywhere if not given. */
  readonly put?: { readonly bytes: fc.Arbitrary<Uint8Array>; readonly step: number }
  /** Where reads begin and end; the first 400 bytes if not given. */
  readonly positions?: fc.Arbitrary<number>
  readonly seed?: number
  readonly numRuns?: number
  /** Makes the lens of a name, where the catalogue can't because it needs more than one backing. */
  readonly named?: (name: string) => Lens
}

/** Every place where `needle` lies in `bytes`. */
function places(bytes: Uint8Array, needle: Uint8Array): number[] {
  const found: number[] = []
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = buffer.indexOf(needle); at >= 0; at = buffer.indexOf(needle, at + 1)) found.push(at)
  return found
}

/**
 * Law 6 for the memory at `at` of the view; whether narrow answered. Bytes may lie in the backing in places that are
 * not where the memory came from; there get gives the memory too, but for an incomplete last element.
 */
function narrowLaw(lens: Lens, bytes: Uint8Array, at: number, length: number): boolean {
  const backing = bytesBacking(bytes)
  const memory = new Uint8Array(Math.min(length, lens.size(backing) - at))
  lens.get(backing, at, memory)
  const into = new Uint8Array(memory.length * 4 + 64)
  const narrowed = lens.narrow?.(memory, into)
  if (narrowed === undefined || narrowed.bytes === 0) return false
  const found = places(bytes, into.subarray(0, narrowed.bytes))
  const located = found.map(offset => lens.locate?.(backing, offset))
  expect(located).toContain(at + narrowed.from)
  for (const [i, offset] of found.entries()) {
    const place = located[i]
    if (place === undefined) continue
    const end = lens.locate?.(backing, offset + narrowed.bytes) ?? lens.size(backing)
    const part = memory.subarray(narrowed.from, narrowed.from + end - place)
    const got = new Uint8Array(part.length)
    lens.get(backing, place, got)
    same(got, part)
  }
  return true
}

/** Generated cases are many, and machines are busy. */
const patience = { timeout: 60_000 }

/** What a test of a law says of itself, for test/laws-reporter.ts. */
export interface LawMeta {
  readonly lens: string
  readonly law: string
  /** Generated cases that the law has something to say of, and those in which the lens answered (invert and narrow need not). */
  readonly asked: number
  readonly answered: number
}

declare module 'vitest' {
  interface TaskMeta {
    law?: LawMeta
  }
}

/** Runs the laws on a lens, each on as many generated cases as `numRuns` says. Call inside describe(). */
export function lensContract(lens: Lens, options: ContractOptions = {}): void {
  const backings = options.backings ?? fc.uint8Array({ maxLength: 300, size: 'max' })
  const seed = options.seed ?? 20_260
  const numRuns = options.numRuns ?? 1000
  const named = options.named ?? lensNamed
  const position = options.positions ?? fc.nat(400)
  const { bytes: wantedBytes, step } = options.put ?? {
    bytes: fc.uint8Array({ maxLength: 100, size: 'max' }),
    step: 1,
  }

  // `holds` says false where the lens did not answer, as it may.
  function law<T>(name: string, cases: fc.Arbitrary<T>, holds: (made: T) => boolean | void): void {
    it(name, patience, ({ task }) => {
      let asked = 0
      let answered = 0
      const property = fc.property(cases, one => {
        if (holds(one) !== false) answered++
        asked++
      })
      fc.assert(property, { seed, numRuns })
      task.meta.law = { lens: lens.name, law: name, asked, answered }
      expect(asked).toBe(numRuns)
    })
  }

  law('any split of get equals the whole get', fc.tuple(backings, position, position), ([bytes, a, b]) => {
    const backing = bytesBacking(bytes)
    const all = whole(lens, backing, 64)
    const from = Math.min(a, b, all.length)
    const to = Math.min(Math.max(a, b), all.length)
    const part = new Uint8Array(to - from).fill(0xdb)
    lens.get(backing, from, part)
    same(part, all.subarray(from, to))
  })

  law('beyond its size get gives zeros', backings, bytes => {
    const backing = bytesBacking(bytes)
    const all = whole(lens, backing, 100)
    expect(all.subarray(lens.size(backing)).every(byte => byte === 0)).toBe(true)
  })

  const { head, put, invert } = lens
  if (head)
    law('head gives the first bytes', fc.tuple(backings, position), ([bytes, length]) => {
      const backing = bytesBacking(bytes)
      const all = whole(lens, backing, 0)
      const out = new Uint8Array(length).fill(0xdb)
      const got = head(backing, out)
      expect(got).toBe(Math.min(length, all.length))
      same(out.subarray(0, got), all.subarray(0, got))
    })

  if (put) {
    law(
      'get after put gives what was put',
      fc.tuple(backings, position, wantedBytes),
      ([bytes, a, wanted]) => {
        const backing = bytesBacking(bytes)
        const size = lens.size(backing)
        const within = a % (size + 1)
        const at = within - (within % step)
        const room = size - at
        const given = wanted.subarray(0, room - (room % step))
        const after = bytesBacking(applyEdits(bytes, put(backing, at, given)))
        const got = new Uint8Array(given.length)
        lens.get(after, at, got)
        same(got, given)
      },
    )

    law('put of what get gave changes nothing', fc.tuple(backings, position, position), ([bytes, a, b]) => {
      const backing = bytesBacking(bytes)
      const size = lens.size(backing)
      const at = Math.min(a, size)
      const got = new Uint8Array(Math.min(b, size - at))
      lens.get(backing, at, got)
      same(applyEdits(bytes, put(backing, at, got)), bytes)
    })
  }

  if (invert) {
    // What was made can be inverted more often than what is random.
    const memory = fc.oneof(
      fc.uint8Array({ maxLength: 300, size: 'max' }),
      backings.map(bytes => whole(lens, bytesBacking(bytes))),
    )
    law('get of what invert answers gives the memory', memory, (made): boolean | void => {
      const bytes = invert(made)
      if (bytes === undefined) return false
      same(whole(lens, bytesBacking(bytes)), made)
    })
  }

  if (lens.narrow) {
    const cut = options.step ?? 1
    let large = 0
    let answered = 0
    const cases = fc.tuple(options.plausible ?? backings, position, fc.integer({ min: 32, max: 400 }))
    law('get where the narrow bytes lie gives the memory that was narrowed', cases, ([bytes, a, n]) => {
      const size = lens.size(bytesBacking(bytes))
      if (size < 64) return false
      large++
      const at = a % (size - 31)
      if (!narrowLaw(lens, bytes, at - (at % cut), n)) return false
      answered++
      return true
    })
    it('narrow answers for at least half of what is not too small', () => {
      if (large > 0) expect(answered / large).toBeGreaterThan(0.5)
    })
  }

  law('its name makes the same lens again', backings, bytes => {
    const again = named(lens.name)
    expect(again.name).toBe(lens.name)
    same(whole(again, bytesBacking(bytes)), whole(lens, bytesBacking(bytes)))
  })
}
