// memory.size and memory.grow by functions: the guest's memory has the size that the host says.
import { need32Bits } from './access.ts'
import { OP } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

export interface SizeFunctions {
  /** () -> i32: the size in wasm pages. */
  readonly size: number
  /** (wasm pages) -> i32: the size before, or -1. */
  readonly grow: number
}

/** Calls `size` and `grow` for memory.size and memory.grow of a memory. */
export function virtualiseSize(rewriter: Rewriter, { size, grow }: SizeFunctions, memory = 0): void {
  need32Bits(rewriter, memory, 'a virtual size')
  rewriter.rewriteBodies({
    ops: [OP['memory.size'], OP['memory.grow']],
    instruction(i, out) {
      if (i.index !== memory) return false
      out.call(i.op === OP['memory.size'] ? size : grow)
      return true
    },
  })
}
