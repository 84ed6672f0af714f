// The heap's code: malloc, free and the others as helper functions of the module, so that a program that does little but take and give
// back memory doesn't leave it for that. layout.ts says where what is kept; heap.ts looks at it from outside. Blocks are made of runs (runs.ts).
import { I32 } from '../wasm/module.ts'
import type { Helper, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import {
  answer,
  fillWords,
  forever,
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
  HEAP_TAGS,
  KEPT,
  MIXED,
  MIXED_ADDRESSABLE,
  ORIGIN_MASK,
  SHADOW_APART,
  STACK_SIZE,
  STACKS,
  TABLE,
  UNDEFINED,
} from './layout.ts'

/** No block is larger: more is refused. */
export const MOST_BYTES = 0x7fff0000
/** Shorter than this a loop is faster than memory.fill. */
const SHORT = 256
/** So many blocks leave the quarantine together, if they are short. */
const AT_ONCE = 16

export const blockHelpers: Readonly<Partial<Record<HelperName, Helper>>> = {
  // (size, alignment, kind, stack) -> the start of a new block, undefined since then; 0: there is no memory
  take: {
    type: i32s(4),
    locals: locals(4, 1),
    emit(out, { helpers, module, hosted }) {
      const [size, alignment, kind, stack, start, run, tag, word, pair] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
      const noRun = (): void => {
        out.op(0x45)
        when(out, () => answer(out, () => out.i32(0)))
      }
      out.get(size)
      out.i32(MOST_BYTES)
      out.op(0x4b)
      when(out, () => answer(out, () => out.i32(0)))
      out.get(alignment)
      out.i32(GRANULE)
      out.op(0x4d)
      when(
        out,
        () => {
          sum(out, size, REDZONES)
          out.call(helpers.runLength)
          out.call(helpers.takeRun)
          out.tee(run)
          noRun()
          sum(out, run, GRANULE)
          out.set(start)
        },
        () => {
          sum(out, size, REDZONES + GRANULE)
          out.get(alignment)
          out.op(0x6a)
          out.call(helpers.runLength)
          out.tee(word)
          out.call(helpers.takeRun)
          out.tee(run)
          noRun()
          sum(out, run, REDZONES - 1)
          out.get(alignment)
          out.op(0x6a)
          out.i32(0)
          out.get(alignment)
          out.op(0x6b, 0x71)
          out.set(start)
          setHeader(out, start, HEADER.run, () => out.get(run))
          setHeader(out, start, HEADER.length, () => out.get(word))
          out.get(kind)
          out.i32(SLACK)
          out.op(0x72)
          out.set(kind)
        },
      )
      // Its tag.
      state(out, HEAP_STATE.freeTag)
      out.tee(tag)
      when(
        out,
        () =>
          setState(out, HEAP_STATE.freeTag, () => {
            out.get(tag)
            out.memory(0x28, CONTROL, TABLE)
            out.i32(-8)
            out.op(0x71)
          }),
        () => {
          state(out, HEAP_STATE.nextTag)
          out.set(tag)
          setState(out, HEAP_STATE.nextTag, () => sum(out, tag, 8))
        },
      )
      out.get(tag)
      out.get(start)
      out.op(0xad)
      out.get(size)
      out.op(0xad)
      out.i64(32n)
      out.op(0x86, 0x84)
      out.memory(0x37, CONTROL, TABLE)
      setHeader(out, start, HEADER.tag, () => {
        out.get(tag)
        out.get(kind)
        out.op(0x72)
      })
      setHeader(out, start, HEADER.taken, () => out.get(stack))
      setHeader(out, start, HEADER.freed, () => out.i32(0))
      setHeader(out, start, HEADER.size, () => out.get(size))
      // Its bytes are undefined; the last word in part.
      if (hosted) out.i64((BigInt(DEFINED) << 32n) | BigInt(DEFINED))
      else {
        origin(out, stack, module.functions.length)
        out.tee(word)
        out.i32(UNDEFINED)
        out.op(0x72, 0xad)
        out.i64(0x100000001n)
        out.op(0x7e)
      }
      out.set(pair)
      const whole = tag
      out.get(start)
      out.get(size)
      out.i32(-4)
      out.op(0x71, 0x6a)
      out.set(whole)
      out.get(start)
      out.set(run)
      fillWords(
        out,
        run,
        () => out.get(whole),
        () => out.get(pair),
      )
      out.get(size)
      out.i32(3)
      out.op(0x71)
      when(
        out,
        () => {
          out.get(whole)
          tail(out, size)
          if (!hosted) {
            out.get(word)
            out.op(0x72)
          }
          out.memory(0x36, SHADOW, SHADOW_APART)
          out.get(whole)
          out.i32(hosted ? 0 : -1)
          out.memory(0x36, BITS, BITS_APART)
        },
        () => {
          out.get(whole)
          out.i32(0)
          out.memory(0x36, SHADOW, SHADOW_APART)
        },
      )
      // What this stack takes is of one size, or not.
      out.get(stack)
      out.i32(6)
      out.op(0x74)
      out.tee(word)
      out.memory(0x28, CONTROL, STACKS + STACK_SIZE)
      out.tee(run)
      sum(out, size, 1)
      out.op(0x47)
      when(out, () => {
        out.get(word)
        out.i32(-1)
        sum(out, size, 1)
        out.get(run)
        out.op(0x1b)
        out.memory(0x36, CONTROL, STACKS + STACK_SIZE)
      })
      setState(out, HEAP_STATE.allocations, () => {
        state(out, HEAP_STATE.allocations)
        out.i32(1)
        out.op(0x6a)
      })
      out.i32(0)
      out.i32(0)
      out.memory(0x29, CONTROL, HEAP_STATE.bytes)
      out.get(size)
      out.op(0xad, 0x7c)
      out.memory(0x37, CONTROL, HEAP_STATE.bytes)
      out.get(start)
    },
  },
  // (start): the block is all zeros, as calloc gives it
  blank: {
    type: i32s(1, 0),
    locals: locals(3),
    emit(out) {
      const [start, size, at, whole] = [0, 1, 2, 3]
      header(out, start, HEADER.size)
      out.set(size)
      out.get(start)
      out.i32(0)
      out.get(size)
      out.op(0xfc, 0x0b, 0)
      out.get(start)
      out.tee(at)
      out.get(size)
      out.i32(-4)
      out.op(0x71, 0x6a)
      out.set(whole)
      fillWords(
        out,
        at,
        () => out.get(whole),
        () => out.i64((BigInt(DEFINED) << 32n) | BigInt(DEFINED)),
      )
      out.get(whole)
      tail(out, size)
      out.i32(0)
      out.get(size)
      out.i32(3)
      out.op(0x71, 0x1b)
      out.memory(0x36, SHADOW, SHADOW_APART)
      out.get(whole)
      out.i32(0)
      out.memory(0x36, BITS, BITS_APART)
    },
  },
  // (address) -> the first word of the header of the block that lives there, or 0
  blockAt: {
    type: i32s(1),
    locals: locals(2),
    emit(out) {
      const [at, head, tag] = [0, 1, 2]
      out.block()
      out.get(at)
      out.i32(GRANULE - 1)
      out.op(0x71)
      out.brIf(0)
      header(out, at, HEADER.tag)
      out.tee(head)
      out.i32(-8)
      out.op(0x71)
      out.tee(tag)
      out.i32(HEAP_TAGS)
      out.op(0x49)
      out.brIf(0)
      out.get(tag)
      state(out, HEAP_STATE.nextTag)
      out.op(0x4f)
      out.brIf(0)
      // The object table can't be wrong: what lies before an address may be anything.
      out.get(tag)
      out.memory(0x28, CONTROL, TABLE)
      out.get(at)
      out.op(0x47)
      out.brIf(0)
      header(out, at, HEADER.freed)
      out.brIf(0)
      answer(out, () => out.get(head))
      out.end()
      out.i32(0)
    },
  },
  // (start of a block that lives, stack): nobody may touch it, and its place is not used again for a while
  give: {
    type: i32s(2, 0),
    locals: locals(2),
    emit(out, { helpers }) {
      const [start, stack, size, at] = [0, 1, 2, 3]
      setHeader(out, start, HEADER.freed, () => sum(out, stack, 1))
      header(out, start, HEADER.size)
      out.set(size)
      header(out, start, HEADER.tag)
      out.i32(-8)
      out.op(0x71)
      out.i32(0)
      out.memory(0x36, CONTROL, TABLE + 4)
      out.get(size)
      out.i32(SHORT)
      out.op(0x49)
      when(
        out,
        () => {
          out.get(start)
          out.set(at)
          out.get(start)
          out.get(size)
          out.op(0x6a)
          out.set(size)
          fillWords(
            out,
            at,
            () => out.get(size),
            () => out.i64(0n),
          )
        },
        () => {
          sum(out, start, SHADOW_APART)
          out.i32(0)
          sum(out, size, 3)
          out.i32(-4)
          out.op(0x71, 0xfc, 0x0b, SHADOW)
        },
      )
      setState(out, HEAP_STATE.frees, () => {
        state(out, HEAP_STATE.frees)
        out.i32(1)
        out.op(0x6a)
      })
      setState(out, HEAP_STATE.kept, () => {
        state(out, HEAP_STATE.kept)
        out.get(start)
        out.call(helpers.runOf)
        out.op(0x6a)
      })
      // Last in quarantine.
      keptAt(out, () => state(out, HEAP_STATE.last))
      out.get(start)
      out.memory(0x36, CONTROL, KEPT)
      setState(out, HEAP_STATE.last, () => {
        state(out, HEAP_STATE.last)
        out.i32(1)
        out.op(0x6a)
      })
      forever(out, () => {
        state(out, HEAP_STATE.kept)
        state(out, HEAP_STATE.limit)
        out.op(0x4d)
        others(out)
        out.op(0x45, 0x72)
        out.brIf(1)
        out.call(helpers.thin)
      })
    },
  },
  // Some blocks leave the quarantine. What is known of them, and their bytes, were not touched for long: memory is asked for all of that
  // at once, and not for each block when its turn comes, for it is needed soon.
  thin: {
    type: i32s(0, 0),
    locals: locals(4),
    emit(out, { helpers }) {
      const [count, i, start, seen] = [0, 1, 2, 3]
      others(out)
      out.tee(count)
      out.i32(AT_ONCE)
      out.get(count)
      out.i32(AT_ONCE)
      out.op(0x49, 0x1b)
      out.set(count)
      forever(out, () => {
        out.get(i)
        out.get(count)
        out.op(0x4f)
        out.brIf(1)
        keptAt(out, () => {
          state(out, HEAP_STATE.first)
          out.get(i)
          out.op(0x6a)
        })
        out.memory(0x28, CONTROL, KEPT)
        out.tee(start)
        out.memory(0x28, SHADOW, SHADOW_APART)
        out.get(start)
        out.memory(0x28, 0, 0)
        out.op(0x72)
        // It may lie in two lines of the cache.
        for (const [memory, apart] of [
          [SHADOW, SHADOW_APART],
          [BITS, BITS_APART],
          [0, 0],
        ] as const) {
          out.get(start)
          out.memory(0x28, memory, apart + REDZONES - 4)
          out.op(0x72)
        }
        header(out, start, HEADER.tag)
        out.i32(-8)
        out.op(0x71)
        out.memory(0x28, CONTROL, TABLE)
        out.op(0x72)
        out.get(seen)
        out.op(0x72)
        out.set(seen)
        sum(out, i, 1)
        out.set(i)
      })
      // Or an engine would not ask at all.
      setState(out, HEAP_STATE.seen, () => out.get(seen))
      forever(out, () => {
        out.call(helpers.release)
        sum(out, count, -1)
        out.tee(count)
        out.op(0x45)
        state(out, HEAP_STATE.kept)
        state(out, HEAP_STATE.limit)
        state(out, HEAP_STATE.limit)
        out.i32(4)
        out.op(0x76, 0x6b, 0x4d, 0x72)
        out.brIf(1)
      })
    },
  },
  // (start) -> how long the block's run is
  runOf: {
    type: i32s(1),
    locals: [],
    emit(out, { helpers }) {
      header(out, 0, HEADER.tag)
      out.i32(SLACK)
      out.op(0x71)
      out.if(I32)
      header(out, 0, HEADER.length)
      out.else()
      header(out, 0, HEADER.size)
      out.i32(REDZONES)
      out.op(0x6a)
      out.call(helpers.runLength)
      out.end()
    },
  },
  // The oldest block in quarantine is forgotten, its place free.
  release: {
    type: i32s(0, 0),
    locals: locals(3),
    emit(out, { helpers }) {
      const [start, tag, length] = [0, 1, 2]
      keptAt(out, () => state(out, HEAP_STATE.first))
      out.memory(0x28, CONTROL, KEPT)
      out.set(start)
      setState(out, HEAP_STATE.first, () => {
        state(out, HEAP_STATE.first)
        out.i32(1)
        out.op(0x6a)
      })
      out.get(start)
      out.call(helpers.runOf)
      out.set(length)
      setState(out, HEAP_STATE.kept, () => {
        state(out, HEAP_STATE.kept)
        out.get(length)
        out.op(0x6b)
      })
      header(out, start, HEADER.tag)
      out.tee(tag)
      out.i32(-8)
      out.op(0x71)
      state(out, HEAP_STATE.freeTag)
      out.i32(1)
      out.op(0x72)
      out.memory(0x36, CONTROL, TABLE)
      setState(out, HEAP_STATE.freeTag, () => {
        out.get(tag)
        out.i32(-8)
        out.op(0x71)
      })
      setHeader(out, start, HEADER.tag, () => out.i32(0))
      out.get(tag)
      out.i32(SLACK)
      out.op(0x71)
      out.if(I32)
      header(out, start, HEADER.run)
      out.else()
      sum(out, start, -GRANULE)
      out.end()
      out.get(length)
      out.call(helpers.putRun)
    },
  },
}

// Leaves where in the ring, from KEPT on, the block with this number is.
function keptAt(out: Emitter, number: () => void): void {
  number()
  state(out, HEAP_STATE.ring)
  out.op(0x71)
  out.i32(2)
  out.op(0x74)
}

// Leaves how many blocks are in quarantine but the last.
function others(out: Emitter): void {
  state(out, HEAP_STATE.last)
  state(out, HEAP_STATE.first)
  out.op(0x6b)
  out.i32(1)
  out.op(0x6b)
}

/** Leaves the origin of what a call stack, its number in a local, has taken. */
export function origin(out: Emitter, stack: number, functions: number): void {
  out.get(stack)
  out.i32(functions + 1)
  out.op(0x6a)
  out.i32(3)
  out.op(0x74)
  out.i32(ORIGIN_MASK)
  out.op(0x71)
}

/** Leaves the shadow of the last word of a block whose size, in a local, is no multiple of 4. */
export function tail(out: Emitter, size: number): void {
  out.i32(1)
  out.get(size)
  out.i32(3)
  out.op(0x71, 0x74)
  out.i32(1)
  out.op(0x6b)
  out.i32(MIXED_ADDRESSABLE)
  out.op(0x74)
  out.i32(MIXED)
  out.op(0x72)
}
