// realloc of a long block that grows: it stays where it is while its run is long enough, or can be made so (runs.ts). A block that grows to n bytes
// in small steps would be copied n times otherwise, where a block is copied for each eighth that it grows. Short blocks always move,
// so that who keeps the old pointer is seen; of a block that stays, that pointer is as good as the new one.
import type { Helper, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import {
  answer,
  fillWords,
  GRANULE,
  HEADER,
  header,
  i32s,
  locals,
  REDZONES,
  setHeader,
  setState,
  SLACK,
  state,
  sum,
  when,
} from './heap-code.ts'
import {
  BITS_APART,
  DEFINED,
  HEAP_STATE,
  MIXED,
  MIXED_ADDRESSABLE,
  SHADOW_APART,
  STACK_SIZE,
  STACKS,
  TABLE,
  UNDEFINED,
} from './layout.ts'
import { MOST_BYTES, origin, tail } from './take.ts'

/** Of shorter runs every block moves. */
const LEAST_RUN = 4096

export const stretchHelpers: Readonly<Partial<Record<HelperName, Helper>>> = {
  // (start of a block that lives, size, stack) -> whether the block has this size now, at the same place; what is new of it is undefined
  stretch: {
    type: i32s(3),
    locals: locals(5, 1),
    emit(out, { helpers, module, hosted }) {
      const [start, size, stack, was, length, word, from, whole, pair] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
      out.block()
      header(out, start, HEADER.size)
      out.tee(was)
      out.get(size)
      out.op(0x4b)
      out.get(size)
      out.i32(MOST_BYTES)
      out.op(0x4b, 0x72)
      header(out, start, HEADER.tag)
      out.i32(SLACK)
      out.op(0x71, 0x72)
      out.brIf(0)
      const runLength = (bytes: number): void => {
        sum(out, bytes, REDZONES)
        out.call(helpers.runLength)
      }
      runLength(was)
      out.tee(length)
      out.i32(LEAST_RUN)
      out.op(0x49)
      out.brIf(0)
      sum(out, start, -GRANULE)
      out.get(length)
      runLength(size)
      out.call(helpers.stretchRun)
      out.op(0x45)
      out.brIf(0)

      if (hosted) {
        out.i32(0)
        out.set(word)
        out.i64((BigInt(DEFINED) << 32n) | BigInt(DEFINED))
      } else {
        origin(out, stack, module.functions.length)
        out.tee(word)
        out.i32(UNDEFINED)
        out.op(0x72, 0xad)
        out.i64(0x100000001n)
        out.op(0x7e)
      }
      out.set(pair)
      wordOf(out, start, size)
      out.set(whole)
      wordOf(out, start, was)
      out.set(from)
      // What of the last word was nobody's is the block's.
      out.get(was)
      out.i32(3)
      out.op(0x71)
      when(out, () => {
        out.get(from)
        out.get(from)
        out.memory(0x28, BITS, BITS_APART)
        out.i32(hosted ? 0 : -1)
        out.get(was)
        out.i32(3)
        out.op(0x74, 0x74, 0x72)
        out.memory(0x36, BITS, BITS_APART)
        setShadow(out, from, word, () => out.i32(MIXED | (15 << MIXED_ADDRESSABLE)))
        sum(out, from, 4)
        out.set(from)
      })
      const at = length
      out.get(from)
      out.set(at)
      fillWords(
        out,
        at,
        () => out.get(whole),
        () => out.get(pair),
      )
      out.get(size)
      out.i32(3)
      out.op(0x71)
      when(
        out,
        () => {
          out.get(from)
          out.get(whole)
          out.op(0x4d)
          when(out, () => {
            out.get(whole)
            out.i32(hosted ? 0 : -1)
            out.memory(0x36, BITS, BITS_APART)
          })
          setShadow(out, whole, word, () => tail(out, size))
        },
        () => {
          out.get(whole)
          out.i32(0)
          out.memory(0x36, SHADOW, SHADOW_APART)
        },
      )
      setHeader(out, start, HEADER.size, () => out.get(size))
      setHeader(out, start, HEADER.taken, () => out.get(stack))
      header(out, start, HEADER.tag)
      out.i32(-8)
      out.op(0x71)
      out.get(size)
      out.memory(0x36, CONTROL, TABLE + 4)
      // This stack takes blocks of several sizes.
      out.get(stack)
      out.i32(6)
      out.op(0x74)
      out.i32(-1)
      out.memory(0x36, CONTROL, STACKS + STACK_SIZE)
      for (const count of [HEAP_STATE.allocations, HEAP_STATE.frees])
        setState(out, count, () => {
          state(out, count)
          out.i32(1)
          out.op(0x6a)
        })
      out.i32(0)
      out.i32(0)
      out.memory(0x29, CONTROL, HEAP_STATE.bytes)
      out.get(size)
      out.op(0xad, 0x7c)
      out.memory(0x37, CONTROL, HEAP_STATE.bytes)
      answer(out, () => out.i32(1))
      out.end()
      out.i32(0)
    },
  },
}

// Leaves where the word begins in which a block of a size ends.
function wordOf(out: Emitter, start: number, size: number): void {
  out.get(start)
  out.get(size)
  out.i32(-4)
  out.op(0x71, 0x6a)
}

// The shadow of a word: what `bits` leaves, and an origin.
function setShadow(out: Emitter, at: number, origin: number, bits: () => void): void {
  out.get(at)
  bits()
  out.get(origin)
  out.op(0x72)
  out.memory(0x36, SHADOW, SHADOW_APART)
}
