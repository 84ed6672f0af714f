// Small functions that are added to the module: what happens too often for the way to JavaScript.
import type { FuncType } from '../wasm/module.ts'
import { I32, V128 } from '../wasm/module.ts'
import type { Helper, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import {
  ANY,
  DEFINED,
  FRAME_TAGS,
  MIXED,
  MIXED_ADDRESSABLE,
  ORIGIN_MASK,
  TABLE,
  TAG_LIMIT,
  UNDEFINED,
} from './layout.ts'
import { comparisonHelpers } from './operators.ts'
import { rangeHelpers } from './ranges.ts'
import { runHelpers } from './runs.ts'
import { stretchHelpers } from './stretch.ts'
import { blockHelpers } from './take.ts'
import { wordHelpers } from './words.ts'

const i32s = (params: number, results: number): FuncType => ({
  params: Array.from({ length: params }, () => I32),
  results: Array.from({ length: results }, () => I32),
})

/** Further than this the stack pointer doesn't move for a frame: another stack is taken, whose bytes stay as they are. */
const FARTHEST = 0x100_0000

export const helperBodies: Readonly<Partial<Record<HelperName, Helper>>> = {
  ...wordHelpers,
  ...comparisonHelpers,
  ...rangeHelpers,
  ...runHelpers,
  ...blockHelpers,
  ...stretchHelpers,
  // (from, to, origin): the words become undefined
  push: {
    type: i32s(3, 0),
    locals: [{ count: 1, type: V128 }],
    emit(out, { hosted }) {
      out.get(1)
      out.get(0)
      out.op(0x6b)
      out.i32(FARTHEST)
      out.op(0x4b)
      out.if()
      out.op(0x0f)
      out.end()
      if (hosted) out.i32(DEFINED)
      else {
        out.get(2)
        out.i32(UNDEFINED)
        out.op(0x72)
      }
      out.op(0xfd, 0x11)
      out.set(3)
      loop(out, () => out.get(3))
    },
  },
  // (from, to): nobody may touch them any more
  pop: {
    type: i32s(2, 0),
    locals: [],
    emit(out) {
      out.get(1)
      out.get(0)
      out.op(0x6b)
      out.i32(FARTHEST)
      out.op(0x4b)
      out.if()
      out.op(0x0f)
      out.end()
      loop(out, () => out.zero(V128))
    },
  },
  // (the stack pointer's new value, origin)
  setStack: {
    type: i32s(2, 0),
    locals: [],
    emit(out, { stackPointer, helpers }) {
      if (stackPointer < 0) return
      out.get(0)
      out.globalGet(stackPointer)
      out.op(0x49)
      out.if()
      out.get(0)
      out.globalGet(stackPointer)
      out.get(1)
      out.call(helpers.push)
      out.else()
      out.globalGet(stackPointer)
      out.get(0)
      out.call(helpers.pop)
      out.end()
      out.get(0)
      out.globalSet(stackPointer)
    },
  },
  // (): no parameter has a tag
  clear: {
    type: i32s(0, 0),
    locals: [],
    emit(out, { parameterTags }) {
      for (const global of parameterTags()) {
        out.i32(0)
        out.globalSet(global)
      }
    },
  },
  // (T, T, neither 0) -> T of a sum
  addTags: {
    type: i32s(2, 1),
    locals: [],
    emit(out) {
      origins(out)
      ranks(out)
      out.i32(ANY)
    },
  },
  // (T, T, the second not 0) -> T of a difference
  subTags: {
    type: i32s(2, 1),
    locals: [],
    emit(out) {
      // The distance of two pointers into one object is a number.
      out.get(0)
      out.get(1)
      out.op(0x46)
      out.get(0)
      out.i32(TAG_LIMIT)
      out.op(0x49, 0x71)
      out.if()
      out.i32(0)
      out.op(0x0f)
      out.end()
      origins(out)
      // What is taken off a pointer with a tag may be a number that looks like the address of a global.
      out.get(0)
      out.i32(FRAME_TAGS)
      out.op(0x4f)
      out.get(1)
      out.i32(FRAME_TAGS)
      out.op(0x49)
      out.get(1)
      out.i32(ANY)
      out.op(0x47, 0x71, 0x71)
      out.if()
      out.get(0)
      out.op(0x0f)
      out.end()
      out.i32(ANY)
    },
  },
  // (address, 0xff or, of an aligned address, 0xffff: so many bytes) -> whether they may be touched: they are defined now. Blocks are filled
  // in small steps, too: that all may be touched is asked first.
  define: {
    type: i32s(2, 1),
    locals: [{ count: 3, type: I32 }],
    emit(out) {
      const [at, mask, first, word, left] = [0, 1, 2, 3, 4]
      const all = MIXED | (15 << MIXED_ADDRESSABLE)
      const setWord = (value: () => void): void => {
        out.get(first)
        out.toShadow()
        value()
        out.memory(0x36, SHADOW, 0)
      }
      const setBits = (): void => {
        out.get(first)
        out.toBits()
        out.get(left)
        out.memory(0x36, BITS, 0)
      }
      const keep = (): void => {
        out.get(left)
        out.get(first)
        out.toBits()
        out.memory(0x28, BITS, 0)
        out.op(0x71)
      }
      out.get(at)
      out.i32(-4)
      out.op(0x71)
      out.tee(first)
      out.toShadow()
      out.memory(0x28, SHADOW, 0)
      out.set(word)
      // What these bytes leave undefined of a word. A distance is taken modulo 32.
      out.i32(-1)
      out.get(mask)
      out.get(at)
      out.i32(3)
      out.op(0x74, 0x74, 0x73)
      out.set(left)
      out.get(word)
      out.i32(all)
      out.op(0x4f)
      out.if()
      keep()
      out.tee(left)
      out.if()
      setBits()
      out.else()
      setWord(() => out.i32(DEFINED))
      out.end()
      out.succeed()
      out.end()
      out.get(word)
      out.i32(UNDEFINED)
      out.op(0x6b)
      out.i32(MIXED - UNDEFINED)
      out.op(0x49)
      out.if()
      setWord(() => {
        out.get(word)
        out.i32(all)
        out.op(0x72)
      })
      setBits()
      out.succeed()
      out.end()
      out.get(word)
      out.i32(UNDEFINED)
      out.op(0x49)
      out.if()
      out.get(word)
      out.op(0x45)
      out.fail()
      setWord(() => out.i32(DEFINED))
      out.succeed()
      out.end()
      // Some bytes of the word may not be touched. 1 or 3: as many ones as there are bytes here.
      out.get(mask)
      out.i32(14)
      out.op(0x76)
      out.i32(1)
      out.op(0x72)
      out.tee(mask)
      out.get(word)
      out.i32(MIXED_ADDRESSABLE)
      out.get(at)
      out.i32(3)
      out.op(0x71, 0x6a, 0x76)
      out.get(mask)
      out.op(0x71, 0x47)
      out.fail()
      keep()
      out.set(left)
      setBits()
      out.i32(1)
    },
  },
  // (address, V, T) -> whether it was an aligned word that may be touched: V and T are its shadow now. For words, or values, that are
  // neither defined nor undefined altogether.
  storeWord: {
    type: i32s(3, 1),
    locals: [{ count: 1, type: I32 }],
    emit(out) {
      out.get(0)
      out.i32(3)
      out.op(0x71)
      out.get(0)
      out.toShadow()
      out.memory(0x28, SHADOW, 0)
      out.set(3)
      whole(out, 3)
      out.op(0x45, 0x72)
      out.if()
      out.i32(0)
      out.op(0x0f)
      out.end()
      // Of a defined value T is a tag, of another the origin.
      out.get(1)
      out.op(0x45)
      out.if(I32)
      out.i32(DEFINED)
      out.get(2)
      out.i32(0)
      out.get(2)
      out.i32(TAG_LIMIT)
      out.op(0x49, 0x1b, 0x72)
      out.else()
      out.get(1)
      out.i32(-1)
      out.op(0x46)
      out.if(I32)
      out.i32(UNDEFINED)
      out.else()
      out.get(0)
      out.toBits()
      out.get(1)
      out.memory(0x36, BITS, 0)
      out.i32(MIXED | (15 << MIXED_ADDRESSABLE))
      out.end()
      out.get(2)
      out.i32(ORIGIN_MASK)
      out.op(0x71)
      out.i32(0)
      out.get(2)
      out.i32(TAG_LIMIT)
      out.op(0x4f, 0x1b, 0x72)
      out.end()
      out.set(3)
      out.get(0)
      out.toShadow()
      out.get(3)
      out.memory(0x36, SHADOW, 0)
      out.i32(1)
    },
  },
  // (address, bytes, T) -> whether the bytes are inside of the object of T, if T is a tag
  inObject: {
    type: i32s(3, 1),
    locals: [],
    emit(out) {
      out.get(2)
      out.i32(8)
      out.op(0x6b)
      out.i32(TAG_LIMIT - 8)
      out.op(0x4f)
      out.if()
      out.i32(1)
      out.op(0x0f)
      out.end()
      out.get(0)
      out.get(2)
      out.memory(0x28, CONTROL, TABLE)
      out.op(0x6b, 0xad)
      out.get(1)
      out.op(0xad, 0x7c)
      out.get(2)
      out.memory(0x35, CONTROL, TABLE + 4)
      out.op(0x58)
    },
  },
  // (to, from, bytes, T of to, T of from) -> whether whole words were copied with their shadow, all of which may be touched; the ranges
  // don't meet
  copyWords: {
    type: i32s(5, 1),
    locals: [{ count: 2, type: I32 }],
    emit(out, { helpers }) {
      out.block()
      refuseUnaligned(out, [0, 1, 2])
      // Far enough apart, either way round.
      for (const [one, other] of [
        [0, 1],
        [1, 0],
      ] as const) {
        out.get(one)
        out.get(other)
        out.op(0x6b)
        out.get(2)
        out.op(0x49)
        out.brIf(0)
      }
      for (const [at, t] of [
        [0, 3],
        [1, 4],
      ] as const) {
        // Shadows that go on at 0 are not copied at once.
        out.get(at)
        out.get(2)
        out.op(0x6a)
        out.toBits()
        out.get(at)
        out.op(0x49)
        out.brIf(0)
        out.get(at)
        out.get(2)
        out.get(t)
        out.call(helpers.inObject)
        out.op(0x45)
        out.brIf(0)
      }
      words(out, 2, 5, () => {
        out.get(0)
        out.get(5)
        out.op(0x6a)
        out.toShadow()
        out.memory(0x28, SHADOW, 0)
        out.set(4)
        whole(out, 4)
        out.get(1)
        out.get(5)
        out.op(0x6a)
        out.toShadow()
        out.memory(0x28, SHADOW, 0)
        out.tee(4)
        out.get(6)
        out.op(0x72)
        out.set(6)
        whole(out, 4)
        out.op(0x71, 0x45)
        out.brIf(2)
      })
      // A mixed word has bits beside.
      out.get(6)
      out.i32(0)
      out.op(0x48)
      out.if()
      out.get(0)
      out.toBits()
      out.get(1)
      out.toBits()
      out.get(2)
      out.op(0xfc, 0x0a, BITS, BITS)
      out.end()
      out.get(0)
      out.toShadow()
      out.get(1)
      out.toShadow()
      out.get(2)
      out.op(0xfc, 0x0a, SHADOW, SHADOW)
      for (const one of [0, 1, 2]) out.get(one)
      out.op(0xfc, 0x0a, 0, 0)
      out.i32(1)
      out.op(0x0f)
      out.end()
      out.i32(0)
    },
  },
  // (first, where the caller's end): the frame's tags are gone
  dropTags: {
    type: i32s(2, 0),
    locals: [],
    emit(out, { liveTags }) {
      out.block()
      out.op(0x03, 0x40)
      out.get(0)
      out.globalGet(liveTags)
      out.op(0x4f)
      out.brIf(1)
      out.get(0)
      out.i64(0n)
      out.memory(0x37, CONTROL, TABLE)
      out.get(0)
      out.i32(8)
      out.op(0x6a)
      out.set(0)
      out.br(0)
      out.end()
      out.end()
      out.get(1)
      out.globalSet(liveTags)
    },
  },
}

// Leaves whether all four bytes of a shadow word in a local may be touched.
function whole(out: Emitter, word: number): void {
  out.get(word)
  out.i32(DEFINED)
  out.op(0x6b)
  out.i32(MIXED - DEFINED)
  out.op(0x49)
  out.get(word)
  out.i32(MIXED_ADDRESSABLE)
  out.op(0x76)
  out.i32(31)
  out.op(0x46, 0x72)
}

// Leaves the block if any of some locals is no multiple of 4.
function refuseUnaligned(out: Emitter, locals: readonly number[]): void {
  locals.forEach((local, i) => {
    out.get(local)
    if (i > 0) out.op(0x72)
  })
  out.i32(3)
  out.op(0x71)
  out.brIf(0)
}

// for ($i = 0; $i < $bytes; $i += 4) body
function words(out: Emitter, bytes: number, i: number, body: () => void): void {
  out.i32(0)
  out.set(i)
  out.block()
  out.op(0x03, 0x40)
  out.get(i)
  out.get(bytes)
  out.op(0x4f)
  out.brIf(1)
  body()
  out.get(i)
  out.i32(4)
  out.op(0x6a)
  out.set(i)
  out.br(0)
  out.end()
  out.end()
}

// The words of the shadow of [$0, $1), a multiple of 4 bytes long (clang's frames: of 16), become those of a vector.
function loop(out: Emitter, words: () => void): void {
  for (const one of [0, 1]) {
    out.get(one)
    out.toShadow()
    out.set(one)
  }
  out.block()
  out.op(0x03, 0x40)
  out.get(1)
  out.get(0)
  out.op(0x6b)
  out.i32(16)
  out.op(0x48)
  out.brIf(1)
  out.get(0)
  words()
  out.op(0xfd, 0x0b, 0x40)
  out.u32(SHADOW)
  out.u32(0)
  out.get(0)
  out.i32(16)
  out.op(0x6a)
  out.set(0)
  out.br(0)
  out.end()
  out.end()
  out.get(0)
  out.get(1)
  out.op(0x47)
  out.if()
  out.get(1)
  out.get(0)
  out.op(0x6b)
  out.i32(8)
  out.op(0x4e)
  out.if()
  out.get(0)
  words()
  out.op(0xfd, 0x1d, 0)
  out.memory(0x37, SHADOW, 0)
  out.get(0)
  out.i32(8)
  out.op(0x6a)
  out.set(0)
  out.end()
  out.get(0)
  out.get(1)
  out.op(0x47)
  out.if()
  out.get(0)
  words()
  out.op(0xfd, 0x1b, 0)
  out.memory(0x36, SHADOW, 0)
  out.end()
  out.end()
}

// If one is the origin of undefined bits, that is the answer.
function origins(out: Emitter): void {
  for (const t of [0, 1]) {
    out.get(t)
    out.i32(TAG_LIMIT)
    out.op(0x4f)
    out.if()
    out.get(t)
    out.op(0x0f)
    out.end()
  }
}

// A pointer of the program's own goes before a constant that may be the address of a global.
function ranks(out: Emitter): void {
  for (const [one, other] of [
    [0, 1],
    [1, 0],
  ] as const) {
    out.get(one)
    out.i32(FRAME_TAGS)
    out.op(0x4f)
    out.get(other)
    out.i32(FRAME_TAGS)
    out.op(0x49)
    out.get(other)
    out.i32(ANY)
    out.op(0x47, 0x71, 0x71)
    out.if()
    out.get(one)
    out.op(0x0f)
    out.end()
  }
}
