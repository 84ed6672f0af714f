/** Allocation patterns of known shape, as traces: the synthetic ones of CS:APP's malloc lab, and mixes of structs, strings and arrays. */
import { parseTrace, type Trace } from '../../src/heap/trace.ts'

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), a | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function trace(ops: readonly string[]): Trace {
  return parseTrace(`20000\n${ops.length}\n${ops.length}\n1\n${ops.join('\n')}\n`)
}

/** Small and large in turns; all large ones are freed; as many a little larger. */
function binary(pairs: number, small: number, large: number, larger: number): Trace {
  const ops: string[] = []
  for (let i = 0; i < pairs; i++) ops.push(`a ${2 * i} ${small}`, `a ${2 * i + 1} ${large}`)
  for (let i = 0; i < pairs; i++) ops.push(`f ${2 * i + 1}`)
  for (let i = 0; i < pairs; i++) ops.push(`a ${2 * pairs + i} ${larger}`)
  for (let i = 0; i < pairs; i++) ops.push(`f ${2 * i}`, `f ${2 * pairs + i}`)
  return trace(ops)
}

function coalescing(rounds: number): Trace {
  const ops: string[] = []
  for (let i = 0; i < rounds; i++)
    ops.push(
      `a ${3 * i} 4095`,
      `a ${3 * i + 1} 4095`,
      `f ${3 * i}`,
      `f ${3 * i + 1}`,
      `a ${3 * i + 2} 8190`,
      `f ${3 * i + 2}`,
    )
  return trace(ops)
}

/** One block grows, with a small one allocated before each step and freed a step later. */
function reallocs(rounds: number, first: number, step: number, small: number): Trace {
  const ops = [`a 0 ${first}`, `a 1 ${small}`]
  for (let i = 1; i < rounds; i++) ops.push(`r 0 ${first + i * step}`, `a ${i + 1} ${small}`, `f ${i}`)
  ops.push(`f ${rounds}`, 'f 0')
  return trace(ops)
}

/** `operations` of which half allocate; frees are of a random live block; a little more is allocated than freed until the end. */
export function randomTrace(
  seed: number,
  operations: number,
  size: (r: () => number) => number,
  reallocShare = 0,
): Trace {
  const r = random(seed)
  const ops: string[] = []
  const live: number[] = []
  let next = 0
  while (ops.length + live.length < operations) {
    const grow = 0.5 + 0.3 * (1 - ops.length / operations)
    if (live.length > 0 && r() < reallocShare) ops.push(`r ${live[Math.floor(r() * live.length)]} ${size(r)}`)
    else if (live.length === 0 || r() < grow) {
      live.push(next)
      ops.push(`a ${next++} ${size(r)}`)
    } else {
      const i = Math.floor(r() * live.length)
      ops.push(`f ${live[i]}`)
      live[i] = live[live.length - 1] as number
      live.pop()
    }
  }
  for (const id of live) ops.push(`f ${id}`)
  return trace(ops)
}

const uniform =
  (low: number, high: number) =>
  (r: () => number): number =>
    low + Math.floor(r() * (high - low + 1))
const structs = [8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 96]
const struct = (r: () => number): number => structs[Math.floor(r() ** 1.5 * structs.length)] as number
const text = (r: () => number): number => 2 + Math.floor(-9 * Math.log(1 - r()))
const array = (r: () => number): number => 4 * Math.ceil(2 ** (2 + 9 * r()))

/** The traces of CS:APP's lab that have a known pattern. */
export const classics: Readonly<Record<string, () => Trace>> = {
  binary: () => binary(2000, 64, 448, 512),
  binary2: () => binary(4000, 16, 112, 128),
  coalescing: () => coalescing(2400),
  realloc: () => reallocs(4800, 512, 128, 128),
  realloc2: () => reallocs(4800, 4092, 5, 16),
  random: () => randomTrace(1, 4800, uniform(1, 32_768)),
  random2: () => randomTrace(2, 4800, uniform(1, 32_768)),
}

/** Mixes with one kind of size each, as newer labs use them. */
export const mixes: Readonly<Record<string, () => Trace>> = {
  structs: () => randomTrace(3, 20_000, struct),
  strings: () => randomTrace(4, 20_000, text),
  arrays: () => randomTrace(5, 20_000, array),
  mixed: () => randomTrace(6, 20_000, r => (r() < 0.4 ? struct(r) : r() < 0.7 ? text(r) : array(r))),
  'mixed-realloc': () =>
    randomTrace(7, 20_000, r => (r() < 0.4 ? struct(r) : r() < 0.7 ? text(r) : array(r)), 0.1),
}
