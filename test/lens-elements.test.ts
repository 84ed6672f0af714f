import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { elementNames } from '../src/lens/elements.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

function made(name: string, bytes: Uint8Array): Uint8Array {
  const lens = lensNamed(name)
  const out = new Uint8Array(lens.size(bytesBacking(bytes)))
  lens.get(bytesBacking(bytes), 0, out)
  return out
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** What people keep in arrays of a type, as bytes. */
const arrays: Readonly<Record<string, (values: number[]) => ArrayBufferView>> = {
  u8: values => Uint8Array.from(values, v => Math.abs(v) * 100),
  i8: values => Int8Array.from(values, v => v * 100),
  u16: values => Uint16Array.from(values, v => Math.abs(v) * 1000),
  i16: values => Int16Array.from(values, v => v * 1000),
  i32: values => Int32Array.from(values, v => v * 1e6),
  u32: values => Uint32Array.from(values, v => Math.abs(v) * 1e6),
  f16: values =>
    Uint16Array.from(values, v => (v < 0 ? 0x8000 : 0) + 0x2c00 + Math.floor(Math.abs(v) * 1000)),
  bf16: values =>
    Uint16Array.from(values, v => (v < 0 ? 0x8000 : 0) + 0x3c00 + Math.floor(Math.abs(v) * 200)),
  f32: values => Float32Array.from(values),
  f64: values => Float64Array.from(values),
}
const values = fc.array(
  fc.integer({ min: -2000, max: 2000 }).map(n => n / 1000),
  { minLength: 40, maxLength: 80 },
)

function plausible(source: string, phase: number): fc.Arbitrary<Uint8Array> {
  const make = arrays[source.replace(/[/*].*/, '')] ?? arrays.u8
  return values.map(numbers => {
    const bytes = bytesOf(make?.(numbers) ?? new Uint8Array())
    const all = new Uint8Array(phase + bytes.length).fill(0x93)
    all.set(bytes, phase)
    return all
  })
}

const targetBytes = (name: string): number => {
  const target = name.split('-').at(-1) ?? ''
  if (target.startsWith('swap')) return Number(target.slice(4)) / 8
  return target === 'rgba' || target === 'bgra' ? 4 : Number(target.replace(/^(utf|[a-z])/, '')) / 8
}

const shifted = ['f16-f32', 'bf16-f64', 'f32-f64', 'i32-i64', 'rgb-rgba', 'swap32']
for (const name of elementNames)
  for (const phase of shifted.includes(name) ? [0, 1] : [0]) {
    const full = phase === 0 ? name : `${name}+${phase}`
    describe(full, () =>
      lensContract(lensNamed(full), {
        plausible: plausible(name.split('-')[0] ?? '', phase),
        step: targetBytes(name),
      }),
    )
  }

describe('swap32|f32-f64', () =>
  lensContract(lensNamed('swap32|f32-f64'), {
    plausible: values.map(numbers => made('swap32', bytesOf(Float32Array.from(numbers)))),
    step: 8,
  }))

const all16 = bytesOf(Uint16Array.from({ length: 65_536 }, (_, i) => i))
const all8 = bytesOf(Uint8Array.from({ length: 256 }, (_, i) => i))

describe('element types', () => {
  it('agree with the formulas, for every f16, bf16, u8', () => {
    const f32 = new Float32Array(made('f16-f32', all16).buffer)
    const f64 = new Float64Array(made('f16-f64', all16).buffer)
    const brains = new Float32Array(made('bf16-f32', all16).buffer)
    for (let i = 0; i < 65_536; i++) {
      const exponent = (i >> 10) & 31
      const mantissa = i & 1023
      const sign = i & 0x8000 ? -1 : 1
      const want =
        exponent === 31
          ? mantissa === 0
            ? sign * Number.POSITIVE_INFINITY
            : Number.NaN
          : sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25))
      const brain = new Float32Array(Uint32Array.of(i << 16).buffer)[0]
      if (!Object.is(f32[i], want) || !Object.is(f64[i], want) || !Object.is(brains[i], brain))
        expect([i, f32[i], f64[i], brains[i]]).toEqual([i, want, want, brain])
    }
    const over = new Float32Array(made('u8/255-f32', all8).buffer)
    const times = new Float32Array(made('u8*1/255-f32', all8).buffer)
    const over64 = new Float64Array(made('u8/255-f64', all8).buffer)
    const times64 = new Float64Array(made('u8*1/255-f64', all8).buffer)
    for (let i = 0; i < 256; i++) {
      expect(over[i]).toBe(Math.fround(i / 255))
      expect(times[i]).toBe(Math.fround(i * Math.fround(1 / 255)))
      expect(over64[i]).toBe(i / 255)
      expect(times64[i]).toBe(i * (1 / 255))
    }
  })

  it('makes a NaN quiet and keeps its sign and payload', () => {
    const bits = new Uint32Array(made('f16-f32', bytesOf(Uint16Array.of(0x7c01, 0xfe55))).buffer)
    expect([...bits]).toEqual([0x7fc02000, 0xffcaa000])
  })

  it('swaps and widens', () => {
    expect([...made('swap16', Uint8Array.of(1, 2, 3, 4, 5))]).toEqual([2, 1, 4, 3])
    expect([...made('swap64', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))]).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    expect([...new BigInt64Array(made('i16-i64', bytesOf(Int16Array.of(-3, 7))).buffer)]).toEqual([-3n, 7n])
    expect([...new BigInt64Array(made('u32-i64', bytesOf(Uint32Array.of(2 ** 32 - 1))).buffer)]).toEqual([
      2n ** 32n - 1n,
    ])
    expect([...made('rgb-bgra', Uint8Array.of(1, 2, 3, 4, 5, 6))]).toEqual([3, 2, 1, 255, 6, 5, 4, 255])
  })

  const python = existsSync('/usr/lib/python3/dist-packages/numpy')
  it.skipIf(!python)('agree with numpy bit for bit (needs python3-numpy)', () => {
    const program = `
import sys, numpy as np
a16 = np.arange(65536, dtype=np.uint16); f = a16.view(np.float16); a8 = np.arange(256, dtype=np.uint8)
f = f[~np.isnan(f)]
for x in [f.astype(np.float32), f.astype(np.float64), a8.astype(np.float32) / 255, a8 / 255, a8 / np.float32(255),
          a8.astype(np.float32) * np.float32(1/255), a8.astype(np.float64) * (1/255), a16.view(np.int16).astype(np.float32),
          a16.view(np.int16).astype(np.float32) / 32768, a16.view(np.int16) / np.float32(32767), a16.view(np.int16) / 32767,
          a16 / np.float32(65535), a16 / 65535, a8 / np.float32(256), a8.astype(np.float32) / 127.5 - 1, a8 / 127.5 - 1,
          a8.view(np.int8) / np.float32(128), a8.view(np.int8) / np.float32(127), a8.view(np.int8) / 127]:
    sys.stdout.buffer.write(x.tobytes())
`
    const want = execFileSync('/usr/bin/python3', ['-c', program], { maxBuffer: 2 ** 26 })
    const numbers = bytesOf(
      Uint16Array.from({ length: 65_536 }, (_, i) => i).filter(i => (i & 0x7fff) <= 0x7c00),
    )
    const got = Buffer.concat([
      made('f16-f32', numbers),
      made('f16-f64', numbers),
      made('u8/255-f32', all8),
      made('u8/255-f64', all8),
      made('u8/255-f32', all8),
      made('u8*1/255-f32', all8),
      made('u8*1/255-f64', all8),
      made('i16-f32', all16),
      made('i16/32768-f32', all16),
      made('i16/32767-f32', all16),
      made('i16/32767-f64', all16),
      made('u16/65535-f32', all16),
      made('u16/65535-f64', all16),
      made('u8/256-f32', all8),
      made('u8/127.5-1-f32', all8),
      made('u8/127.5-1-f64', all8),
      made('i8/128-f32', all8),
      made('i8/127-f32', all8),
      made('i8/127-f64', all8),
    ])
    expect(got.equals(want)).toBe(true)
  })

  it('of other memory are not narrowed', () => {
    const into = new Uint8Array(4 * 4096 + 64)
    const text = Buffer.from('some text that is not numbers. '.repeat(200)).subarray(0, 4096)
    for (const name of ['f16-f32', 'bf16-f32', 'u8/255-f32', 'u8-f64', 'i32-f64', 'i32-i64', 'rgb-rgba'])
      expect(lensNamed(name).narrow?.(text, into)).toBeUndefined()
    expect(lensNamed('u8-f32').narrow?.(new Uint8Array(4096), into)).toBeUndefined()
  })
})
