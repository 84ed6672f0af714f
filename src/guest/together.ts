// What several parties want of one run, as one.
import type { ImportObject } from './engine.ts'
import type { Observer, RunOptions } from './instance.ts'

/** Passes one after the other, imports of both; observers and `ready` of both are called, the first one's first. */
export function together(a: RunOptions, b: RunOptions): RunOptions {
  const imports: ImportObject = { ...a.imports }
  for (const [module, names] of Object.entries(b.imports ?? {}))
    imports[module] = { ...imports[module], ...names }
  const observer = bothObservers(a.observer, b.observer)
  const ready = inTurn(a.ready, b.ready)
  return {
    ...a,
    ...b,
    passes: [...(a.passes ?? []), ...(b.passes ?? [])],
    imports,
    ...(observer === undefined ? {} : { observer }),
    ...(ready === undefined ? {} : { ready }),
  }
}

function inTurn<A extends readonly unknown[]>(
  a: ((...args: A) => void) | undefined,
  b: ((...args: A) => void) | undefined,
): ((...args: A) => void) | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return (...args) => {
    a(...args)
    b(...args)
  }
}

function bothObservers(a: Observer | undefined, b: Observer | undefined): Observer | undefined {
  if (a === undefined || b === undefined) return a ?? b
  const both: { -readonly [K in keyof Observer]?: unknown } = {}
  for (const name of ['before', 'after', 'brings', 'wrote', 'reads', 'waits', 'exit', 'trap'] as const) {
    const call = inTurn(
      a[name] as ((...args: readonly unknown[]) => void) | undefined,
      b[name] as ((...args: readonly unknown[]) => void) | undefined,
    )
    if (call !== undefined) both[name] = call
  }
  return both as Observer
}
