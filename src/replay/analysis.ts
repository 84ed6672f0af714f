// All that the code of a guest tells, kept by the hash of its module: whether it can be replayed, its points, which functions copy
// memory, and what the judge of purity says of every function and of what each loop calls.
import { keep, kept } from '../guest/cache.ts'
import type { Guest } from '../guest/load.ts'
import { findMalloc } from '../guest/malloc-functions.ts'
import { decode } from '../wasm/decode.ts'
import { importCount, type Module } from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { copiers } from './copiers.ts'
import type { Segment } from './epochs.ts'
import { constantOf, factsOf } from './facts.ts'
import { refusal, type Refusal } from './fitness.ts'
import { type Instrumented, instrument, type Point } from './instrument.ts'
import { Purity, type Verdict } from './purity.ts'
import { pointsOf, shapeOf, signatures } from './shape.ts'

export interface FunctionReport {
  readonly index: number
  readonly name: string
  readonly verdict: Verdict
}

export interface Analysis {
  /** Why the guest can't be replayed. */
  readonly refusal: Refusal | undefined
  readonly copies: readonly number[]
  /** Functions that give back a block of the heap, by their names. */
  readonly frees: readonly number[]
  readonly functions: readonly FunctionReport[]
  /** For each point the functions (by index) that its loop calls itself. */
  readonly callees: readonly (readonly number[])[]
  readonly points: readonly Point[]
  readonly mutable: number
  readonly mostPages: number
  readonly memory: string
}

/** Part of the key: what an older Lethe found is not used. */
const revision = '7'

/** The analysis of a guest, and whether it was there already. */
export function analyse(guest: Guest): { readonly analysis: Analysis; readonly cached: boolean } {
  const name = `${guest.hash}.replay-${revision}.json`
  const before = kept(name)
  try {
    if (before !== undefined) return { analysis: JSON.parse(before.toString()) as Analysis, cached: true }
  } catch {
    // It is damaged: made anew.
  }
  const analysis = analysisOf(decode(guest.bytes))
  keep(name, JSON.stringify(analysis))
  return { analysis, cached: false }
}

export function analysisOf(module: Module): Analysis {
  const facts = factsOf(module)
  const purity = new Purity(module, facts)
  const names = readNames(module).functions
  const imported = importCount(module, 'func')
  const functions = module.functions.map((_, i) => {
    const index = imported + i
    return { index, name: names.get(index) ?? `function ${index}`, verdict: purity.of(index) }
  })
  const refused = refusal(module)
  const copies = refused === undefined ? [...copiers(module)] : []
  const frees = [...findMalloc(module)].flatMap(([index, role]) => (role === 'free' ? [index] : []))
  const made: Pick<Instrumented, 'points' | 'mutable' | 'mostPages' | 'memory'> =
    refused === undefined
      ? instrument(module, new Set(copies), new Set(frees))
      : { points: [], mutable: 0, mostPages: 0, memory: '' }
  const sig = signatures(module)
  const callees = made.points.map(({ func, number }) => {
    const code = module.functions[func - imported]
    const loop = code === undefined ? undefined : pointsOf(shapeOf(code, sig)).find(p => p.point === number)
    if (code === undefined || loop === undefined) return []
    const called = (facts[func - imported]?.calls ?? []).filter(
      ({ place }) => place.at >= code.offset + loop.at && place.at < code.offset + loop.after,
    )
    return [...new Set(called.flatMap(({ target }) => (typeof target === 'number' ? [target] : [])))]
  })
  const { points, mutable, mostPages, memory } = made
  return { refusal: refused, copies, frees, functions, callees, points, mutable, mostPages, memory }
}

/** The data segments that lie in memory from the start, with where. */
export function segmentsOf(module: Module): Segment[] {
  const segments: Segment[] = []
  for (const { offset, bytes } of module.datas) {
    const at = offset === undefined ? undefined : constantOf(offset)
    if (at !== undefined) segments.push({ at: at >>> 0, bytes: bytes.slice() })
  }
  return segments
}
