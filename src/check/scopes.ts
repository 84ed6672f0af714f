// Variables of inner blocks, which end before their function does. Where the code of such a block ends, the variable's entry in the object
// table becomes that of one that is gone (`ENDED`): a pointer that outlives the block is told like one that outlives the function. Only of code
// that was not optimised, where each variable has a place of its own and a block's code lies together.
//
// The entry has to be right wherever the block's code runs; that it says "alive" too long is only an error that is not seen. So it is written
// between two instructions of which one is in the block, in the order in which they stand, and variables are left out
// - whose block is entered by a jump to its middle: switch and goto;
// - whose address is computed outside of it: destructors and __attribute__((cleanup)) run behind the end, on the variable;
// - that an address is shared with, as the end of the array in front.
import type { CodeRange } from '../wasm/dwarf.ts'
import { Cursor } from '../wasm/instructions.ts'
import type { Func } from '../wasm/module.ts'
import type { FrameVariable } from './context.ts'
import type { FrameUse, Place } from './frames.ts'

/** The entry of a variable whose block has ended: no length, and a start that none has. */
export const ENDED = 1

export interface ScopedPlace {
  /** Its index among the frame's places. */
  readonly place: number
  readonly scope: readonly CodeRange[]
}

/** Whether an instruction is in a block. */
export const isIn = (scope: readonly CodeRange[], site: number): boolean =>
  scope.some(({ low, high }) => site >= low && site < high)

/** The places of a frame that end with their block. */
export function scopedPlaces(
  func: Func,
  use: FrameUse,
  variables: readonly FrameVariable[],
  places: readonly Place[],
): ScopedPlace[] {
  const inner = places.flatMap(({ name, base, start, length }, place) => {
    const variable = variables.find(one => one.start === base && one.name === name)
    if (variable === undefined || variable.scope.length === 0 || start !== base) return []
    const { scope } = variable
    const outside = use.addresses.some(
      one => one.at >= start && one.at < start + length && !isIn(scope, one.site),
    )
    return outside ? [] : [{ place, scope }]
  })
  if (inner.length === 0) return inner
  const jumps = jumpsOf(func)
  const isMiddle = ({ low, high }: CodeRange, site: number): boolean => site > low && site < high
  const isEntered = (scope: readonly CodeRange[]): boolean =>
    jumps.some(
      ({ from, to }) =>
        scope.some(range => isMiddle(range, to)) && !scope.some(range => isMiddle(range, from)),
    )
  return inner.filter(({ scope }) => !isEntered(scope))
}

// The jumps of a function, from instruction to instruction, as places in the module.
function jumpsOf(func: Func): { from: number; to: number }[] {
  const cursor = new Cursor(func.body, func.offset)
  const jumps: { from: number; to: number }[] = []
  // A loop's label is where it begins; another's is behind its end, which is not known before.
  const labels: { loop: number; from: number[] }[] = [{ loop: -1, from: [] }]
  const jump = (depth: number, from = cursor.place): void => {
    const label = labels.at(-1 - depth)
    if (label === undefined) return
    if (label.loop >= 0) jumps.push({ from, to: label.loop })
    else label.from.push(from)
  }
  while (cursor.next()) {
    const { op, index } = cursor
    // What is thrown may come from anywhere.
    if (op === 0x1f) for (const { label } of cursor.clauses()) jump(label, -1)
    if (op === 0x02 || op === 0x03 || op === 0x04 || op === 0x06 || op === 0x1f)
      labels.push({
        loop: op === 0x03 ? cursor.base + cursor.end : -1,
        from: op === 0x04 ? [cursor.place] : [],
      })
    else if (op === 0x0b) {
      const to = cursor.base + cursor.end
      for (const from of labels.pop()?.from ?? []) jumps.push({ from, to })
    } else if (op === 0x05) {
      // What `if` jumps to; the branch that ends here jumps to the end.
      const label = labels.at(-1)
      for (const from of label?.from.splice(0, 1) ?? []) jumps.push({ from, to: cursor.base + cursor.end })
      label?.from.push(cursor.place)
    } else if (op === 0x0c || op === 0x0d) jump(index)
    else if (op === 0x0e) for (const depth of new Set(cursor.labels())) jump(depth)
  }
  return jumps
}
