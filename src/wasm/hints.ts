// Branch hints: which way a branch goes nearly always (the WebAssembly proposal of that name, a custom section in front of the code).
//
// What a pass writes for a rare case is mostly a call. V8 gives registers to both ways of a branch alike, so around a call that never
// happens it would move to the stack and back all that is alive. What a hint says to be rare it puts at the function's end, and only that
// way pays. A guest with a software TLB takes a quarter to a third less time so.
import { setFlagsFromString } from 'node:v8'
import { Writer } from './bytes.ts'
import { importCount, type Custom, type Module } from './module.ts'

export const HINTS = 'metadata.code.branch_hint'

/** Has V8 heed hints in modules that it compiles from now on. Since 13.7 it does by itself; before it has a flag for it. */
export function heedHints(): void {
  // A flag that V8 doesn't know is told on standard error.
  const major = Number.parseInt(process.versions.v8, 10)
  if (major === 12 || major === 13) setFlagsFromString('--experimental-wasm-branch-hinting')
}

/** Hints of a body in which code moved: `moved` as for moveOrigins. */
export function moveHints(hints: Uint32Array | undefined, moved: readonly number[]): Uint32Array | undefined {
  if (hints === undefined || moved.length === 0) return hints
  let m = 0
  let by = 0
  return hints.map(hint => {
    for (; m < moved.length && 2 * (moved[m] as number) <= hint; m += 2) by = moved[m + 1] as number
    return hint + 2 * by
  })
}

/** The section that tells of the hints of all functions; `undefined` if there are none. `prefix`: bytes of a function in front of its body. */
export function hintsSection(module: Module, prefix: (func: number) => number): Custom | undefined {
  const { functions } = module
  const count = functions.reduce((sum, { hints }) => sum + (hints === undefined ? 0 : 1), 0)
  if (count === 0) return undefined
  const out = new Writer(65_536)
  const imported = importCount(module, 'func')
  out.u32(count)
  for (let n = 0; n < functions.length; n++) {
    const hints = functions[n]?.hints
    if (hints === undefined) continue
    out.u32(imported + n)
    out.u32(hints.length)
    const before = prefix(n)
    for (const hint of hints) {
      out.u32(before + (hint >>> 1))
      out.byte(1)
      out.byte(hint & 1)
    }
  }
  return { name: HINTS, bytes: out.take(), after: -1 }
}
