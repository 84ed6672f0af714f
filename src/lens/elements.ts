/**
 * Arrays of numbers with another element type, as numpy, PyTorch and JSON-free formats are read into memory; little
 * endian unless a swap comes first ('swap32|f32-f64').
 *
 *   f16, bf16 → f32, f64          NaN becomes quiet and keeps its payload, as the hardware's conversions do
 *   u8/255 → f32, f64             x / 255 in the target's precision
 *   u8*1/255 → f32, f64           x * (1 / 255): differs from the division in the last bit for some x
 *   i16/32768, i16/32767, u16/65535, u8/256, i8/128, i8/127 → f32, f64     samples of sound, likewise divided
 *   u8/127.5-1 → f32, f64         x / 127.5 - 1, as pictures are given to networks
 *   u8, i8, u16, i16, i32, u32 → f32, f64; i64 is not exact in f64 and not here
 *   f32 → f64, f64 → f32          as cvtps2pd and cvtpd2ps: rounded to nearest even, NaN quiet
 *   integers → wider integers     u8-u16 is also called latin1-utf16, and u8-u32 latin1-utf32
 *   swap16, swap32, swap64        byte order
 *   rgb → rgba, bgra              alpha 255
 *
 * '+P' behind a name: the first element begins at byte P of the backing.
 */
import { type Source, sources, type Step, type Target, targets } from '../kernels/elements.ts'
import { grouped, type Grouping } from './grouped.ts'
import type { Lens } from './lens.ts'

function step(source: number, target: number): Step {
  return (wasm, from, n, to) => wasm.convert(source, target, from, n, to)
}

function back(source: number, target: number): Step {
  return (wasm, from, n, to) => wasm.candidates(source, target, from, n, to)
}

function elements(
  name: string,
  source: Source,
  target: Target,
  exact = true,
  sane?: (bytes: Uint8Array) => boolean,
): Grouping {
  const from = sources[source].bytes
  return {
    name,
    from,
    to: targets[target].bytes || from,
    groups: 1,
    fromGap: 0,
    toGap: 0,
    forward: step(sources[source].number, targets[target].number),
    back: back(sources[source].number, targets[target].number),
    exact,
    padded: false,
    ...(sane ? { sane } : {}),
  }
}

/** Most of what arrays hold is zero or of a size that people compute with. */
function saneWords(bytes: Uint8Array, width: 2 | 4 | 8, low: number, high: number, shift: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let seen = 0
  let good = 0
  for (let at = 0; at + width <= bytes.length; at += width) {
    const top = view.getUint16(at + width - 2, true) & 0x7fff
    seen++
    const exponent = top >> shift
    if (top === 0 || (exponent >= low && exponent <= high)) good++
  }
  return seen > 0 && good * 10 >= seen * 9
}

const saneHalves = (bytes: Uint8Array): boolean => saneWords(bytes, 2, 1, 24, 10)
const saneBrains = (bytes: Uint8Array): boolean => saneWords(bytes, 2, 127 - 30, 127 + 20, 7)
const saneFloats = (bytes: Uint8Array): boolean => saneWords(bytes, 4, 127 - 40, 127 + 40, 7)
const saneDoubles = (bytes: Uint8Array): boolean => saneWords(bytes, 8, 1023 - 60, 1023 + 60, 4)

const WIDER: readonly (readonly [Source, readonly Target[]])[] = [
  ['u8', ['u16', 'i16', 'u32', 'i32', 'u64', 'i64']],
  ['i8', ['i16', 'i32', 'i64']],
  ['u16', ['u32', 'i32', 'u64', 'i64']],
  ['i16', ['i32', 'i64']],
  ['u32', ['u64', 'i64']],
  ['i32', ['i64']],
]

const FLOATED: readonly Source[] = [
  'u8/255',
  'u8*1/255',
  'u8/256',
  'u8/127.5-1',
  'i8/128',
  'i8/127',
  'i16/32768',
  'i16/32767',
  'u16/65535',
  'u8',
  'i8',
  'u16',
  'i16',
  'i32',
  'u32',
]

function catalogue(): Map<string, Grouping> {
  const all: Grouping[] = [
    elements('f32-f64', 'f32', 'f64', true, saneFloats),
    elements('f64-f32', 'f64', 'f32', false, saneDoubles),
    elements('rgb-rgba', 'rgb', 'rgba'),
    elements('rgb-bgra', 'rgb', 'bgra'),
    elements('swap16', 'u16', 'swapped'),
    elements('swap32', 'i32', 'swapped'),
    elements('swap64', 'f64', 'swapped'),
    elements('latin1-utf16', 'u8', 'u16'),
    elements('latin1-utf32', 'u8', 'u32'),
  ]
  for (const target of ['f32', 'f64'] as const) {
    all.push(elements(`f16-${target}`, 'f16', target, true, saneHalves))
    all.push(elements(`bf16-${target}`, 'bf16', target, true, saneBrains))
    for (const source of FLOATED) all.push(elements(`${source}-${target}`, source, target))
  }
  for (const [source, wider] of WIDER)
    for (const target of wider) all.push(elements(`${source}-${target}`, source, target))
  return new Map(all.map(grouping => [grouping.name, grouping]))
}

const groupings = catalogue()

/** The names without phase. */
export const elementNames: readonly string[] = [...groupings.keys()]

/** 'f16-f32', 'f16-f32+1': the phase is less than the element's bytes. */
export function elementsNamed(name: string): Lens | undefined {
  const match = /^(.*?)(?:\+([1-9]))?$/.exec(name)
  const grouping = groupings.get(match?.[1] ?? '')
  const phase = Number(match?.[2] ?? 0)
  return grouping && phase < grouping.from ? grouped(grouping, phase) : undefined
}
