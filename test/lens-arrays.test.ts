import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { arrayLens, type ArrayOptions, type StoredType, storedBytes, typesFor } from '../src/lens/arrays.ts'
import type { ElementType } from '../src/lens/element.ts'
import { LensError } from '../src/lens/errors.ts'
import { applyEdits, type Lens } from '../src/lens/lens.ts'
import { tensorLens } from '../src/lens/tensors.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const arrays = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
}

function made(
  lens: Lens,
  backing: { readonly size: number } & ReturnType<typeof bytesBacking>,
): (number | bigint)[] {
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  return [...new arrays[lens.element as ElementType](out.buffer)]
}

/** What the numbers of a type are, by other means than the kernels'. */
function stored(of: StoredType, bytes: Uint8Array, big: boolean): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const width = storedBytes[of]
  const bf16 = new DataView(new ArrayBuffer(4))
  const read: Readonly<Record<StoredType, (at: number) => number | bigint>> = {
    u8: at => view.getUint8(at),
    i8: at => view.getInt8(at),
    u16: at => view.getUint16(at, !big),
    i16: at => view.getInt16(at, !big),
    u32: at => view.getUint32(at, !big),
    i32: at => view.getInt32(at, !big),
    u64: at => view.getBigUint64(at, !big),
    i64: at => view.getBigInt64(at, !big),
    f32: at => view.getFloat32(at, !big),
    f64: at => view.getFloat64(at, !big),
    f16(at) {
      const half = view.getUint16(at, !big)
      const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023]
      if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
      return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
    },
    bf16(at) {
      bf16.setUint16(0, view.getUint16(at, !big))
      return bf16.getFloat32(0)
    },
  }
  return Array.from({ length: Math.floor(bytes.length / width) }, (_, i) => Number(read[of](i * width)))
}

const all = Object.keys(storedBytes) as StoredType[]

describe('array', () => {
  it('converts as JavaScript does, from either byte order, with a scale', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...all.flatMap(of => typesFor(of).map(as => [of, as] as const))),
        fc.uint8Array({ maxLength: 200 }),
        fc.boolean(),
        fc.constantFrom([1, 1, 0], [0.1, 1, 0], [1, 255, 0], [2, 3, -1.5]),
        fc.nat(20),
        ([of, as], bytes, big, [scale = 1, over = 1, add = 0], at) => {
          const floats = as === 'f32' || as === 'f64'
          const numbers = stored(of, bytes.subarray(at), big)
          const scaled =
            floats && scale + over + add !== 2 ? numbers.map(x => (x * scale) / over + add) : numbers
          const factors = floats ? { scale, over, add } : {}
          const lens = arrayLens({ of, as, at, order: big ? 'big' : 'little', ...factors })
          const expected = [...new Float64Array(as === 'f32' ? Float32Array.from(scaled) : scaled)]
          expect(made(lens, bytesBacking(bytes)).map(Number)).toEqual(expected)
        },
      ),
      { seed: 20_263, numRuns: 6000 },
    )
  })

  const small = (as: 'f32' | 'f64' | 'i64'): fc.Arbitrary<Uint8Array> =>
    fc.array(fc.integer({ min: -100, max: 100 }), { maxLength: 12 }).map(list => {
      const array = as === 'i64' ? BigInt64Array.from(list.map(BigInt)) : new arrays[as](list)
      return new Uint8Array(array.buffer)
    })
  const laws: readonly (readonly [ArrayOptions, fc.Arbitrary<Uint8Array>, number])[] = [
    [{ of: 'f16', as: 'f32' }, small('f32'), 4],
    [{ of: 'bf16', as: 'f64', order: 'big', at: 3 }, small('f64'), 8],
    [{ of: 'f64', as: 'f64', order: 'big' }, fc.uint8Array({ maxLength: 100 }), 1],
    [{ of: 'i16', as: 'f32', scale: 0.5, add: 2, at: 1 }, small('f32'), 4],
    [{ of: 'i64', as: 'f64' }, small('f64'), 8],
    [{ of: 'i8', as: 'i64' }, small('i64'), 8],
    [{ of: 'u32', as: 'u32', at: 5 }, fc.uint8Array({ maxLength: 100 }), 1],
  ]
  for (const [options, bytes, step] of laws)
    describe(JSON.stringify(options), () => lensContract(arrayLens(options), { put: { bytes, step } }))

  it('refuses to write what the file could not hold exactly, and says where', () => {
    const lens = arrayLens({ of: 'f16', as: 'f32' })
    const put = new Uint8Array(Float32Array.of(1, 2, 0.1).buffer)
    expect(() => lens.put?.(bytesBacking(new Uint8Array(100)), 40, put)).toThrow(
      /element 12 can't be written: no f16/,
    )
  })

  it('that goes beyond its backing, or has no such conversion, is refused', () => {
    expect(() =>
      arrayLens({ of: 'u32', as: 'u32', at: 8, count: 3 }).size(bytesBacking(new Uint8Array(16))),
    ).toThrow(/has 2 elements from byte 8 on, not 3/)
    expect(() => arrayLens({ of: 'f64', as: 'i32' })).toThrow(/f64 can be had as f64, f32, not as i32/)
  })
})

describe('files of arrays', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lethe-arrays-'))
    execFileSync('python3', ['-c', MAKE, folder])
  })
  afterAll(() => removeFolder(folder))

  const of = (lens: Lens, name: string): (number | bigint)[] => {
    using backing = new FileBacking(join(folder, name))
    return made(lens, backing)
  }
  const firsts = [0, 0.5, 1, 1.5]

  it('of NumPy are read in each type, version and byte order', () => {
    for (const name of ['f8', 'f4', 'f2', 'bigf8', 'v2', 'v3'])
      expect(of(tensorLens('npy', { as: 'f64' }), `${name}.npy`).slice(0, 4)).toEqual(firsts)
    expect(of(tensorLens('npy', { as: 'i64' }), 'i8.npy')).toEqual([-1n, 2n, -3n])
    expect(of(tensorLens('npy', { as: 'u8' }), 'bool.npy')).toEqual([1, 0, 1])
    expect(of(tensorLens('npy', { as: 'f64' }), 'scalar.npy')).toEqual([7])
  })

  it('of NumPy that hold no array of numbers in order are refused with the reason', () => {
    const lens = tensorLens('npy', { as: 'f64' })
    expect(() => of(lens, 'object.npy')).toThrow(/Python objects/)
    expect(() => of(lens, 'fortran.npy')).toThrow(/\[2,3\] lies in Fortran order/)
    expect(() => of(lens, 'struct.npy')).toThrow(/elements of dtype \[\('a'/)
    expect(() => of(tensorLens('npy', { as: 'i32' }), 'f8.npy')).toThrow(
      /f64 can be had as f64, f32, not as i32/,
    )
    expect(() => of(lens, 'cut.npy')).toThrow(/the file ends before the array's 1000 elements do/)
    expect(() => of(lens, 'w.safetensors')).toThrow(/no .npy file/)
  })

  it('in archives are found by name, compressed or not', () => {
    for (const name of ['stored.npz', 'packed.npz']) {
      expect(of(tensorLens('npz', { as: 'f32', name: 'b' }), name)).toEqual([1.5, 2.5])
      expect(of(tensorLens('npz', { as: 'f64', name: 'a' }), name)[999]).toBe(499.5)
      expect(() => of(tensorLens('npz', { as: 'f64', name: 'c' }), name)).toThrow(/there are "a", "b"/)
    }
  })

  it('of safetensors are found by name and checked', () => {
    expect(of(tensorLens('safetensors', { as: 'f32', name: 'model.w' }), 'w.safetensors')).toEqual([
      1, -2, 3, 0.5,
    ])
    expect(of(tensorLens('safetensors', { as: 'i64', name: 'ids' }), 'w.safetensors')).toEqual([5n, -6n])
    const missing = (): unknown => of(tensorLens('safetensors', { as: 'f32', name: 'x' }), 'w.safetensors')
    expect(missing).toThrow(LensError)
    expect(missing).toThrow(/there are "model.w", "ids"/)
  })

  it('are written in place', () => {
    using backing = new FileBacking(join(folder, 'w.safetensors'))
    const lens = tensorLens('safetensors', { as: 'f32', name: 'model.w' })
    const before = new Uint8Array(backing.size)
    backing.read(0, before)
    const edits = lens.put?.(backing, 4, new Uint8Array(Float32Array.of(-2, 0.25).buffer)) ?? []
    expect(edits.map(({ bytes }) => bytes.length)).toEqual([2])
    expect(made(lens, bytesBacking(applyEdits(before, edits)))).toEqual([1, -2, 0.25, 0.5])
  })
})

const MAKE = `
import sys, json, struct, numpy as np
from numpy.lib import format
d = sys.argv[1] + '/'
a = np.arange(1000) / 2
for name, t in [('f8', '<f8'), ('f4', '<f4'), ('f2', '<f2'), ('bigf8', '>f8')]: np.save(d + name, a.astype(t))
for v in (2, 3):
    with open(f'{d}v{v}.npy', 'wb') as f: format.write_array(f, a.reshape(10, 100), version=(v, 0))
np.save(d + 'i8', np.array([-1, 2, -3]))
np.save(d + 'bool', np.array([True, False, True]))
np.save(d + 'scalar', np.array(7.0))
np.save(d + 'object', np.array([1, 'x', None], dtype=object), allow_pickle=True)
np.save(d + 'fortran', np.asfortranarray(np.zeros((2, 3))))
np.save(d + 'struct', np.zeros(3, dtype=[('a', 'i4'), ('b', 'f8')]))
open(d + 'cut.npy', 'wb').write(open(d + 'f8.npy', 'rb').read()[:-8])
np.savez(d + 'stored', a=a, b=np.array([1.5, 2.5], dtype='f4'))
np.savez_compressed(d + 'packed', a=a, b=np.array([1.5, 2.5], dtype='f4'))
w = (np.array([1, -2, 3, .5], dtype='<f4').view('<u4') >> 16).astype('<u2').tobytes()
ids = np.array([5, -6]).tobytes()
h = json.dumps({'__metadata__': {'format': 'pt'}, 'model.w': {'dtype': 'BF16', 'shape': [2, 2], 'data_offsets': [0, 8]},
  'ids': {'dtype': 'I64', 'shape': [2], 'data_offsets': [8, 24]}}).encode()
open(d + 'w.safetensors', 'wb').write(struct.pack('<Q', len(h)) + h + w + ids)
`
