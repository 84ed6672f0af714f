/** The laws of src/lens/lens.ts as one suite; every lens runs it. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { applyEdits, type Lens } from '../src/lens/lens.ts'

/** A backing of bytes that we have in hand. */
export function bytesBacking(bytes: Uint8Array): Backing {
  return {
    size: bytes.length,
    identity: { device: '0', inode: '0', size: bytes.length, mtime: '0', ctime: '0' },
    read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    },
    hold: () => ({ leased: true, release: () => undefined }),
    close: () => undefined,
  }
}

function whole(lens: Lens, backing: Backing, beyond = 0): Uint8Array {
  const out = new Uint8Array(lens.size(backing) + beyond).fill(0xdb)
  lens.get(backing, 0, out)
  return out
}

export interface ContractOptions {
  /** Backings that the lens accepts; any bytes if not given. */
  readonly backings?: fc.Arbitrary<Uint8Array>
  readonly seed?: number
}

/** Runs the laws on a lens. Call inside describe(). */
export function lensContract(lens: Lens, options: ContractOptions = {}): void {
  const backings = options.backings ?? fc.uint8Array({ maxLength: 300 })
  const seed = options.seed ?? 20_260
  const position = fc.nat(400)

  it('any split of get equals the whole get', () => {
    fc.assert(
      fc.property(backings, position, position, (bytes, a, b) => {
        const backing = bytesBacking(bytes)
        const all = whole(lens, backing, 64)
        const from = Math.min(a, b, all.length)
        const to = Math.min(Math.max(a, b), all.length)
        const part = new Uint8Array(to - from).fill(0xdb)
        lens.get(backing, from, part)
        expect(part).toEqual(all.subarray(from, to))
      }),
      { seed },
    )
  })

  it('beyond its size get gives zeros', () => {
    fc.assert(
      fc.property(backings, bytes => {
        const backing = bytesBacking(bytes)
        const all = whole(lens, backing, 100)
        expect(all.subarray(lens.size(backing)).every(byte => byte === 0)).toBe(true)
      }),
      { seed },
    )
  })

  it('get after put gives what was put', () => {
    fc.assert(
      fc.property(backings, position, fc.uint8Array({ maxLength: 100 }), (bytes, at, wanted) => {
        if (!lens.put) return
        const backing = bytesBacking(bytes)
        const room = lens.size(backing) - at
        if (room < 0) return
        const put = wanted.subarray(0, room)
        const after = bytesBacking(applyEdits(bytes, lens.put(backing, at, put)))
        const got = new Uint8Array(put.length)
        lens.get(after, at, got)
        expect(got).toEqual(put)
      }),
      { seed },
    )
  })

  it('put of what get gave changes nothing', () => {
    fc.assert(
      fc.property(backings, position, position, (bytes, a, b) => {
        if (!lens.put) return
        const backing = bytesBacking(bytes)
        const size = lens.size(backing)
        const at = Math.min(a, size)
        const got = new Uint8Array(Math.min(b, size - at))
        lens.get(backing, at, got)
        expect(applyEdits(bytes, lens.put(backing, at, got))).toEqual(bytes)
      }),
      { seed },
    )
  })

  it('get of what invert answers gives the memory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), memory => {
        const bytes = lens.invert?.(memory)
        if (bytes === undefined) return
        expect(whole(lens, bytesBacking(bytes))).toEqual(memory)
      }),
      { seed },
    )
  })
}
