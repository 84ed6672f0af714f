// Helper functions for ranges of bytes: what memcpy, memset, memcmp, strcmp and strlen nearly always meet, bytes that are defined, may be
// touched and lie in their object, needs no JavaScript. Each answers whether it has done its work; if not, nothing is wrong yet: the
// function in JavaScript (strings.ts) looks at all of it again.
import type { FuncType } from '../wasm/module.ts'
import { I32 } from '../wasm/module.ts'
import type { Helper, HelperIndices, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import { DEFINED, EXCHANGE_V, MIXED, MIXED_ADDRESSABLE, UNDEFINED } from './layout.ts'

const i32s = (params: number): FuncType => ({
  params: Array.from({ length: params }, () => I32),
  results: [I32],
})
const locals = (count: number): Helper['locals'] => [{ count, type: I32 }]

// while (unless leaves the block by label 1) body; label 0 is the next round
function forever(out: Emitter, body: () => void): void {
  out.block()
  out.op(0x03, 0x40)
  body()
  out.br(0)
  out.end()
  out.end()
}

function add(out: Emitter, local: number, amount: number): void {
  out.get(local)
  out.i32(amount)
  out.op(0x6a)
  out.set(local)
}

// Leaves whether a shadow word in a local says that all is defined.
function defined(out: Emitter, word: number): void {
  out.get(word)
  out.i32(DEFINED)
  out.op(0x6b)
  out.i32(UNDEFINED - DEFINED)
  out.op(0x49)
}

// Leaves the shadow word that an address in a local is in.
function wordAt(out: Emitter, at: number): void {
  out.get(at)
  out.i32(-4)
  out.op(0x71)
  out.toShadow()
  out.memory(0x28, SHADOW, 0)
}

// Leaves whether a range of the guest's memory, as an address and a length in locals, ends behind the memory.
function beyond(out: Emitter, at: number, length: number): void {
  out.get(at)
  out.op(0xad)
  out.get(length)
  out.op(0xad, 0x7c, 0x3f, 0x00, 0xad)
  out.i64(16n)
  out.op(0x86, 0x56)
}

function inObject(out: Emitter, helpers: HelperIndices, at: number, length: number, t: number): void {
  for (const one of [at, length, t]) out.get(one)
  out.call(helpers.inObject)
  out.op(0x45)
}

// From an address up to the first of the next word.
function toNextWord(out: Emitter, at: number): void {
  out.get(at)
  out.i32(-4)
  out.op(0x71)
  out.i32(4)
  out.op(0x6a)
  out.set(at)
}

export const rangeHelpers: Readonly<Partial<Record<HelperName, Helper>>> = {
  // (at, end) -> whether all bytes may be touched and are defined
  isDefined: {
    type: i32s(2),
    locals: locals(1),
    emit(out) {
      const [at, end, word] = [0, 1, 2]
      forever(out, () => {
        out.get(at)
        out.get(end)
        out.op(0x4f)
        out.brIf(1)
        wordAt(out, at)
        out.tee(word)
        out.i32(MIXED)
        out.op(0x4f)
        out.if()
        out.get(word)
        out.i32(MIXED_ADDRESSABLE)
        out.get(at)
        out.i32(3)
        out.op(0x71, 0x6a, 0x76)
        out.i32(1)
        out.op(0x71, 0x45)
        out.get(at)
        out.toBits()
        out.memory(0x2d, BITS, 0)
        out.op(0x72)
        out.fail()
        add(out, at, 1)
        out.else()
        defined(out, word)
        out.op(0x45)
        out.fail()
        toNextWord(out, at)
        out.end()
      })
      out.i32(1)
    },
  },
  // (at, 0xff or 0xffff: the bits of so many bytes) -> whether these of one word may be touched and are defined, if others are not
  isPartDefined: {
    type: i32s(2),
    locals: locals(2),
    emit(out) {
      const [at, bits, word, shift] = [0, 1, 2, 3]
      wordAt(out, at)
      out.tee(word)
      out.i32(MIXED)
      out.op(0x49)
      out.fail()
      out.get(at)
      out.i32(3)
      out.op(0x71)
      out.set(shift)
      out.get(word)
      out.i32(MIXED_ADDRESSABLE)
      out.get(shift)
      out.op(0x6a, 0x76)
      // 1 or 3: a bit for each byte.
      out.get(bits)
      out.i32(14)
      out.op(0x76)
      out.i32(1)
      out.op(0x72)
      out.tee(word)
      out.op(0x71)
      out.get(word)
      out.op(0x47)
      out.fail()
      out.get(at)
      out.i32(-4)
      out.op(0x71)
      out.toBits()
      out.memory(0x28, BITS, 0)
      out.get(shift)
      out.i32(3)
      out.op(0x74, 0x76)
      out.get(bits)
      out.op(0x71, 0x45)
    },
  },
  // (at, end) -> whether all bytes may be touched: they are defined now, up to the first of which that is not so
  settle: {
    type: i32s(2),
    locals: locals(1),
    emit(out, { helpers }) {
      const [at, end, word] = [0, 1, 2]
      forever(out, () => {
        out.get(at)
        out.get(end)
        out.op(0x4f)
        out.brIf(1)
        wordAt(out, at)
        out.tee(word)
        out.i32(DEFINED)
        out.op(0x46)
        out.if()
        toNextWord(out, at)
        out.br(1)
        out.end()
        // A word that is defined, or written as a whole: it may hold no pointer any more.
        defined(out, word)
        out.get(word)
        out.i32(UNDEFINED)
        out.op(0x6b)
        out.i32(MIXED - UNDEFINED)
        out.op(0x49)
        out.get(at)
        out.i32(3)
        out.op(0x71, 0x45, 0x71)
        out.get(end)
        out.get(at)
        out.op(0x6b)
        out.i32(4)
        out.op(0x4f, 0x71, 0x72)
        out.if()
        out.get(at)
        out.i32(-4)
        out.op(0x71)
        out.toShadow()
        out.i32(DEFINED)
        out.memory(0x36, SHADOW, 0)
        toNextWord(out, at)
        out.br(1)
        out.end()
        out.get(at)
        out.i32(0xff)
        out.call(helpers.define)
        out.op(0x45)
        out.fail()
        add(out, at, 1)
      })
      out.i32(1)
    },
  },
  // (to, from, bytes, T of to, T of from): the ranges don't meet
  copyBytes: {
    type: i32s(5),
    locals: locals(1),
    emit(out, { helpers }) {
      const [to, from, length, toT, fromT, words] = [0, 1, 2, 3, 4, 5]
      beyond(out, to, length)
      beyond(out, from, length)
      out.op(0x72)
      out.fail()
      for (const [one, other] of [
        [to, from],
        [from, to],
      ] as const) {
        out.get(one)
        out.get(other)
        out.op(0x6b)
        out.get(length)
        out.op(0x49)
        out.fail()
      }
      inObject(out, helpers, to, length, toT)
      inObject(out, helpers, from, length, fromT)
      out.op(0x72)
      out.fail()
      // Whole words take their pointers' tags with them; the rest is bytes.
      out.get(to)
      out.get(from)
      out.op(0x72)
      out.i32(3)
      out.op(0x71, 0x45)
      out.if()
      for (const one of [to, from]) out.get(one)
      out.get(length)
      out.i32(-4)
      out.op(0x71)
      out.tee(words)
      for (const one of [toT, fromT]) out.get(one)
      out.call(helpers.copyWords)
      out.op(0x45)
      out.fail()
      for (const one of [to, from]) {
        out.get(one)
        out.get(words)
        out.op(0x6a)
        out.set(one)
      }
      out.get(length)
      out.get(words)
      out.op(0x6b)
      out.set(length)
      out.end()
      out.get(length)
      out.op(0x45)
      out.if()
      out.succeed()
      out.end()
      rangeOf(out, from, length)
      out.call(helpers.isDefined)
      out.op(0x45)
      out.fail()
      rangeOf(out, to, length)
      out.call(helpers.settle)
      out.op(0x45)
      out.fail()
      for (const one of [to, from, length]) out.get(one)
      out.op(0xfc, 0x0a, 0, 0)
      out.i32(1)
    },
  },
  // (to, value, bytes, T of to)
  fillBytes: {
    type: i32s(4),
    locals: [],
    emit(out, { helpers }) {
      const [to, value, length, t] = [0, 1, 2, 3]
      beyond(out, to, length)
      out.fail()
      inObject(out, helpers, to, length, t)
      out.fail()
      rangeOf(out, to, length)
      out.call(helpers.settle)
      out.op(0x45)
      out.fail()
      for (const one of [to, value, length]) out.get(one)
      out.op(0xfc, 0x0b, 0)
      out.i32(1)
    },
  },
  // (at, T of at): the length is in the exchange
  textLength: {
    type: i32s(2),
    locals: locals(2),
    emit(out, { helpers }) {
      const [at, t, end, one] = [0, 1, 2, 3]
      out.i32(1)
      out.set(one)
      out.get(at)
      out.set(end)
      forever(out, () => {
        beyond(out, end, one)
        out.fail()
        out.get(end)
        out.op(0x2d, 0, 0, 0x45)
        out.brIf(1)
        add(out, end, 1)
      })
      out.i32(0)
      out.get(end)
      out.get(at)
      out.op(0x6b)
      out.memory(0x36, CONTROL, EXCHANGE_V)
      // The 0 counts.
      add(out, end, 1)
      out.get(end)
      out.get(at)
      out.op(0x6b)
      out.set(one)
      inObject(out, helpers, at, one, t)
      out.fail()
      out.get(at)
      out.get(end)
      out.call(helpers.isDefined)
    },
  },
  // (a, b, bytes at most, T of a, T of b, whether a 0 is the end): the difference is in the exchange
  difference: {
    type: i32s(6),
    locals: locals(2),
    emit(out, { helpers }) {
      const [a, b, limit, aT, bT, text, count, found] = [0, 1, 2, 3, 4, 5, 6, 7]
      const lastOf = (of: number): void => {
        out.get(of)
        out.get(count)
        out.op(0x6a)
        out.i32(1)
        out.op(0x6b, 0x2d, 0, 0)
      }
      forever(out, () => {
        out.get(count)
        out.get(limit)
        out.op(0x4f)
        out.brIf(1)
        add(out, count, 1)
        beyond(out, a, count)
        beyond(out, b, count)
        out.op(0x72)
        out.fail()
        lastOf(a)
        lastOf(b)
        out.op(0x6b)
        out.set(found)
        lastOf(a)
        out.op(0x45)
        out.get(text)
        out.op(0x71)
        out.get(found)
        out.op(0x72)
        out.brIf(1)
      })
      out.i32(0)
      out.get(found)
      out.memory(0x36, CONTROL, EXCHANGE_V)
      inObject(out, helpers, a, count, aT)
      inObject(out, helpers, b, count, bT)
      out.op(0x72)
      out.fail()
      rangeOf(out, a, count)
      out.call(helpers.isDefined)
      rangeOf(out, b, count)
      out.call(helpers.isDefined)
      out.op(0x71)
    },
  },
}

// Leaves an address and where the range that begins there ends.
function rangeOf(out: Emitter, at: number, length: number): void {
  out.get(at)
  out.get(at)
  out.get(length)
  out.op(0x6a)
}
