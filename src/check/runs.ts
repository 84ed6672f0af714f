// Runs of bytes, of which blocks are made (take.ts), and the numbers of call stacks, as helper functions of the module.
//
// Runs below 4 KiB have any multiple of 16, longer ones one of eight lengths for each power of 2. A run is taken from the bin of its
// length, else from new memory, else a longer one is cut. Nothing is joined: it would bring freed places back too early.
import type { Helper, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter } from './emitter.ts'
import { answer, forever, GRANULE, i32s, locals, REDZONES, setState, state, sum, when } from './heap-code.ts'
import {
  BINS,
  BITS_APART,
  HEAP_RANGES,
  HEAP_STATE,
  RECENT,
  RECENT_BITS,
  STACK_DEPTH,
  STACKS,
} from './layout.ts'

/** From so many granules on there are eight lengths for each power of 2. */
const LARGE_SHIFT = 8
const LARGE: number = 2 ** LARGE_SHIFT
const BIN_COUNT = LARGE + (28 - LARGE_SHIFT) * 8
/** Of so many bytes on a run is made longer where nothing but free memory is behind it. */
const LONG = 0x10_0000
/** So many sites of a call stack are read one by one. */
const WRITTEN_ALONE = 6
/** Odd numbers without a pattern, as many as a stack has pairs of sites. */
const MULTIPLIERS: readonly bigint[] = [
  -0x61c8864680b583ebn,
  0x2545f4914f6cdd1dn,
  -0x40a7b892e31b1a47n,
  -0x6b2fb644ecceee15n,
  0x369dea0f31a53f85n,
  -0x2aa7c8f9d3b5e86dn,
]
/** Of the processor's cache. */
const LINE = 64
/** Pages that are grown at least. */
const STEP = 16

// 2 to the power of the highest bit of granules in a local, divided by 8.
function eighth(out: Emitter, granules: number): void {
  out.i32(1)
  out.i32(28)
  out.get(granules)
  out.op(0x67, 0x6b, 0x74)
}

// Takes the first run off the bin in a local, if there is one, and goes on with it.
function takeFirst(out: Emitter, bin: number, run: number, then: () => void): void {
  out.get(bin)
  out.memory(0x28, CONTROL, 0)
  out.tee(run)
  when(out, () => {
    out.get(bin)
    out.get(run)
    out.memory(0x28, BITS, BITS_APART)
    out.memory(0x36, CONTROL, 0)
    then()
  })
}

export const runHelpers: Readonly<Partial<Record<HelperName, Helper>>> = {
  // (where the call stack ends) -> its number
  capture: {
    type: i32s(1),
    locals: locals(2, STACK_DEPTH / 2),
    emit(out, { hooks }) {
      const [top, slot, id, pairs] = [0, 1, 2, 3]
      // Two sites in one. The innermost were written a moment ago, one by one: a load of two would wait until both are in the cache, and
      // all that was written before them.
      for (let i = 0; i < STACK_DEPTH; i += 2) {
        sum(out, top, -4 * (STACK_DEPTH - i))
        if (i < STACK_DEPTH - WRITTEN_ALONE) out.memory(0x29, CONTROL, 0)
        else {
          out.memory(0x35, CONTROL, 0)
          sum(out, top, -4 * (STACK_DEPTH - i - 1))
          out.memory(0x35, CONTROL, 0)
          out.i64(32n)
          out.op(0x86, 0x84)
        }
        out.set(pairs + i / 2)
      }
      // All sites count: recursion has many stacks whose innermost calls are the same. No product waits for another.
      for (let i = 0; i < STACK_DEPTH / 2; i++) {
        out.get(pairs + i)
        out.i64(MULTIPLIERS[i] as bigint)
        out.op(0x7e)
        if (i > 0) out.op(0x7c)
      }
      out.i64(BigInt(64 - RECENT_BITS))
      out.op(0x88, 0xa7)
      out.i32(2)
      out.op(0x74)
      out.tee(slot)
      out.memory(0x28, CONTROL, RECENT)
      out.tee(id)
      when(out, () => {
        sum(out, id, -1)
        out.tee(id)
        out.i32(6)
        out.op(0x74)
        out.set(id)
        for (let i = 0; i < STACK_DEPTH; i += 2) {
          out.get(pairs + i / 2)
          out.get(id)
          out.memory(0x29, CONTROL, STACKS + 4 * i)
          out.op(0x85)
          if (i > 0) out.op(0x84)
        }
        out.op(0x50)
        when(out, () =>
          answer(out, () => {
            out.get(id)
            out.i32(6)
            out.op(0x76)
          }),
        )
      })
      out.get(top)
      out.get(slot)
      out.call(hooks.stack)
    },
  },
  // (bytes, with redzones) -> the length of a run for them
  runLength: {
    type: i32s(1),
    locals: locals(1),
    emit(out) {
      const [bytes, step] = [0, 1]
      sum(out, bytes, GRANULE - 1)
      out.i32(4)
      out.op(0x76)
      out.tee(bytes)
      out.i32(LARGE)
      out.op(0x4f)
      when(out, () => {
        eighth(out, bytes)
        out.tee(step)
        out.get(bytes)
        out.op(0x6a)
        out.i32(1)
        out.op(0x6b)
        out.i32(0)
        out.get(step)
        out.op(0x6b, 0x71)
        out.set(bytes)
      })
      out.get(bytes)
      out.i32(4)
      out.op(0x74)
    },
  },
  // (the length of a run) -> where its bin is
  binOf: {
    type: i32s(1),
    locals: locals(1),
    emit(out) {
      const [length, power] = [0, 1]
      out.get(length)
      out.i32(4)
      out.op(0x76)
      out.tee(length)
      out.i32(LARGE)
      out.op(0x4f)
      when(out, () => {
        // 8 * (power - LARGE_SHIFT) + the three bits behind the highest
        out.i32(31)
        out.get(length)
        out.op(0x67, 0x6b)
        out.tee(power)
        out.i32(LARGE_SHIFT)
        out.op(0x6b)
        out.i32(3)
        out.op(0x74)
        out.get(length)
        sum(out, power, -3)
        out.op(0x76)
        out.i32(7)
        out.op(0x71, 0x6a)
        out.i32(LARGE)
        out.op(0x6a)
        out.set(length)
      })
      out.get(length)
      out.i32(2)
      out.op(0x74)
      out.i32(BINS)
      out.op(0x6a)
    },
  },
  // (start, length): a run is free
  putRun: {
    type: i32s(2, 0),
    locals: locals(1),
    emit(out, { helpers }) {
      const [run, length, bin] = [0, 1, 2]
      out.get(length)
      out.i32(REDZONES)
      out.op(0x49)
      when(out, () => out.op(0x0f))
      // What is cut off may have any length: it goes to those that are a little shorter.
      out.get(length)
      out.i32(4)
      out.op(0x76)
      out.tee(length)
      out.i32(LARGE)
      out.op(0x4f)
      when(out, () => {
        out.get(length)
        out.i32(0)
        eighth(out, length)
        out.op(0x6b, 0x71)
        out.set(length)
      })
      out.get(length)
      out.i32(4)
      out.op(0x74)
      out.call(helpers.binOf)
      out.set(bin)
      out.get(run)
      out.get(bin)
      out.memory(0x28, CONTROL, 0)
      out.memory(0x36, BITS, BITS_APART)
      out.get(bin)
      out.get(run)
      out.memory(0x36, CONTROL, 0)
    },
  },
  // (bytes) -> whether the memory has grown by so many
  growHeap: {
    type: i32s(1),
    locals: locals(4),
    emit(out, { helpers, hooks, hosted }) {
      const [bytes, pages, least, start, range] = [0, 1, 2, 3, 4]
      // JavaScript would not see it.
      if (hosted) return out.i32(0)
      const larger = (): void => {
        out.get(pages)
        out.get(least)
        out.get(pages)
        out.get(least)
        out.op(0x4b, 0x1b)
        out.set(pages)
      }
      sum(out, bytes, 0xffff)
      out.i32(16)
      out.op(0x76)
      out.tee(bytes)
      out.set(pages)
      out.i32(STEP)
      out.set(least)
      larger()
      // With the size of the memory, so that a big one doesn't grow in small steps.
      out.op(0x3f, 0x00)
      out.i32(3)
      out.op(0x76)
      out.set(least)
      larger()
      out.get(pages)
      out.op(0x40, 0x00)
      out.tee(start)
      out.i32(-1)
      out.op(0x46)
      when(out, () => {
        out.get(bytes)
        out.tee(pages)
        out.op(0x40, 0x00)
        out.tee(start)
        out.i32(-1)
        out.op(0x46)
        when(out, () => answer(out, () => out.i32(0)))
      })
      for (const one of [start, pages]) {
        out.get(one)
        out.i32(16)
        out.op(0x74)
        out.set(one)
      }
      state(out, HEAP_STATE.ranges)
      out.i32(3)
      out.op(0x74)
      out.set(range)
      state(out, HEAP_STATE.end)
      out.get(start)
      out.op(0x46)
      out.get(range)
      out.i32(0)
      out.op(0x47, 0x71, 0x45)
      when(out, () => {
        // The guest has grown its memory itself meanwhile.
        state(out, HEAP_STATE.top)
        state(out, HEAP_STATE.end)
        state(out, HEAP_STATE.top)
        out.op(0x6b)
        out.call(helpers.putRun)
        setState(out, HEAP_STATE.top, () => out.get(start))
        out.get(range)
        out.get(start)
        out.memory(0x36, CONTROL, HEAP_RANGES)
        sum(out, range, 8)
        out.tee(range)
        out.i32(3)
        out.op(0x76)
        out.set(least)
        setState(out, HEAP_STATE.ranges, () => out.get(least))
      })
      // Not to where addresses end: what is known of a block lies a little further on than the block.
      out.get(start)
      out.get(pages)
      out.op(0x6a)
      out.tee(start)
      out.i32(-0x10000)
      out.get(start)
      out.op(0x1b)
      out.set(start)
      setState(out, HEAP_STATE.end, () => out.get(start))
      out.get(range)
      out.get(start)
      out.memory(0x36, CONTROL, HEAP_RANGES - 4)
      out.i32(-1)
      out.i32(0)
      out.call(hooks.grown)
      out.i32(1)
    },
  },
  // (length) -> the start of a run of this length; 0: there is no memory
  takeRun: {
    type: i32s(1),
    locals: locals(3),
    emit(out, { helpers }) {
      const [length, bin, run, gap] = [0, 1, 2, 3]
      out.get(length)
      out.call(helpers.binOf)
      out.set(bin)
      forever(out, () => {
        takeFirst(out, bin, run, () => answer(out, () => out.get(run)))
        // Runs that fill lines of the cache begin where one does.
        out.i32(0)
        state(out, HEAP_STATE.top)
        out.tee(run)
        out.op(0x6b)
        out.i32(LINE - 1)
        out.op(0x71)
        out.i32(0)
        out.get(length)
        out.i32(LINE - 1)
        out.op(0x71, 0x45, 0x1b)
        out.set(gap)
        state(out, HEAP_STATE.end)
        out.get(run)
        out.op(0x6b)
        out.get(length)
        out.get(gap)
        out.op(0x6a, 0x4f)
        when(out, () => {
          out.get(run)
          out.get(gap)
          out.call(helpers.putRun)
          setState(out, HEAP_STATE.top, () => {
            out.get(run)
            out.get(gap)
            out.op(0x6a)
            out.tee(run)
            out.get(length)
            out.op(0x6a)
          })
          answer(out, () => out.get(run))
        })
        out.get(length)
        out.call(helpers.growHeap)
        out.brIf(0)
        // Rather give up what was kept than fail.
        state(out, HEAP_STATE.first)
        state(out, HEAP_STATE.last)
        out.op(0x46)
        out.brIf(1)
        out.call(helpers.release)
      })
      out.get(length)
      out.call(helpers.cutRun)
    },
  },
  // (run, its length, a length) -> whether it has that length now
  stretchRun: {
    type: i32s(3),
    locals: [],
    emit(out, { helpers }) {
      const [run, length, longer] = [0, 1, 2]
      const is = (): void => answer(out, () => out.i32(1))
      out.get(length)
      out.get(longer)
      out.op(0x46)
      when(out, is)
      out.get(longer)
      out.get(length)
      out.op(0x49)
      out.get(length)
      out.i32(LONG)
      out.op(0x49, 0x72)
      when(out, () => answer(out, () => out.i32(0)))
      forever(out, () => {
        out.get(run)
        out.get(length)
        out.op(0x6a)
        state(out, HEAP_STATE.top)
        out.op(0x47)
        out.brIf(1)
        state(out, HEAP_STATE.end)
        out.get(run)
        out.op(0x6b)
        out.get(longer)
        out.op(0x4f)
        when(out, () => {
          setState(out, HEAP_STATE.top, () => {
            out.get(run)
            out.get(longer)
            out.op(0x6a)
          })
          is()
        })
        out.get(longer)
        out.get(length)
        out.op(0x6b)
        out.call(helpers.growHeap)
        out.brIf(0)
        out.br(1)
      })
      out.i32(0)
    },
  },
  // (length) -> the start of a run that was longer, or 0
  cutRun: {
    type: i32s(1),
    locals: locals(3),
    emit(out, { helpers }) {
      const [length, bin, run, whole] = [0, 1, 2, 3]
      out.get(length)
      out.call(helpers.binOf)
      out.set(bin)
      forever(out, () => {
        sum(out, bin, 4)
        out.tee(bin)
        out.i32(BINS + 4 * BIN_COUNT)
        out.op(0x4f)
        when(out, () => answer(out, () => out.i32(0)))
        takeFirst(out, bin, run, () => {
          sum(out, bin, -BINS)
          out.i32(2)
          out.op(0x76)
          out.tee(whole)
          out.i32(LARGE)
          out.op(0x4f)
          when(out, () => {
            out.get(whole)
            out.i32(7)
            out.op(0x71)
            out.i32(8)
            out.op(0x72)
            sum(out, whole, -LARGE)
            out.i32(3)
            out.op(0x76)
            out.i32(LARGE_SHIFT - 3)
            out.op(0x6a, 0x74)
            out.set(whole)
          })
          out.get(run)
          out.get(length)
          out.op(0x6a)
          out.get(whole)
          out.i32(4)
          out.op(0x74)
          out.get(length)
          out.op(0x6b)
          out.call(helpers.putRun)
          answer(out, () => out.get(run))
        })
      })
      out.op(0x00)
    },
  },
}
