// The judge of purity on functions that are larger, or go in more loops, than those that people write.
import binaryen from 'binaryen'
import { describe, expect, test } from 'vitest'
import { factsOf } from '../../src/replay/facts.ts'
import { join, type Range, same, unknown, type Value } from '../../src/replay/values.ts'
import { decode } from '../../src/wasm/decode.ts'

// wabt's parser can't nest as deep.
const facts = (text: string): ReturnType<typeof factsOf> =>
  factsOf(decode(binaryen.parseText(text).emitBinary()))
const times = (n: number, make: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => make(i)).join('\n')

test('values that were joined once are the same when they are joined again, and only get less', () => {
  const data: Range = { from: 1000, to: 2000 }
  const param: Value = { kind: 'param', index: 0 }
  const values: Value[] = [
    ...[0, 500, 1000, 1004].map((value): Value => ({ kind: 'constant', value })),
    ...[500, 1000, 1004].map((value): Value => ({ kind: 'static', value })),
    param,
    { kind: 'frame', owner: 3 },
    { kind: 'load', base: param, offset: 8 },
    unknown,
  ]
  for (const a of values)
    for (const b of values) {
      const both = join(a, b, data)
      expect(join(both, b, data)).toBe(both)
      expect(same(join(both, a, data), both)).toBe(true)
    }
})

// As QuickJS's and CPython's have it: a loop around one br_table, with a block for each instruction of theirs, hundreds of locals, and
// pointers that are one text of the program's or another.
const interpreter = (cases: number, locals: number): string => `(module
  (memory 1)
  (data (i32.const 1024) "text of the program")
  (data (i32.const 4096) "constant data, or what the linker puts behind it")
  (func (param $code i32) (result i32) (local ${'i32 '.repeat(locals)})
    ${times(locals, i => `(local.set ${1 + i} (i32.const 1024))`)}
    (loop $next
      ${times(cases, i => `(block $case${cases - 1 - i}`)}
      (br_table ${times(cases, i => `$case${i}`)} (i32.load8_u (local.get $code))))
      ${times(
        cases - 1,
        i => `
        (local.set ${1 + (i % locals)} (i32.const ${1024 + (i % 19)}))
        (local.set ${1 + ((i * 7) % locals)} (local.get ${1 + ((i * 3) % locals)}))
        (local.set $code (i32.add (local.get $code) (i32.const ${i})))
        (br_if $next (i32.load (local.get ${1 + (i % locals)})))
        (loop $own (br_if $own (i32.load (local.get ${1 + ((i * 5) % locals)}))) (br $next)))`,
      )}
      (return (local.get 1)))
    (i32.const 0)))`

describe('an interpreter', { timeout: 60_000 }, () => {
  test('of a thousand instructions with 200 locals is judged in seconds', () => {
    const began = process.cpuUsage()
    const [found] = facts(interpreter(1000, 200))
    const { user, system } = process.cpuUsage(began)
    expect(found).toMatchObject({ returns: true, writes: undefined })
    expect((user + system) / 1e6).toBeLessThan(20)
  })

  test('that hands 300 locals on in a ring is judged without what they are', () => {
    const [found] = facts(`(module
      (memory 1)
      (func (param i32) (local ${'i32 '.repeat(300)})
        (loop $next
          ${times(300, i => `(local.set ${300 - i} (local.get ${300 - i - 1}))`)}
          (i32.store (local.get 300) (i32.const 1))
          (br_if $next (local.get 1)))))`)
    // The parameter comes there in the 300th pass, or the write is to anywhere.
    expect(found?.writes ?? found?.writesParam.get(0)).toBeDefined()
  })
})
