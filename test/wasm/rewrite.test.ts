import { describe, expect, test } from 'vitest'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { instructions } from '../../src/wasm/instructions.ts'
import { I32, I64, importCount } from '../../src/wasm/module.ts'
import { OP } from '../../src/wasm/opcode-table.ts'
import { originAt } from '../../src/wasm/origins.ts'
import { Rewriter } from '../../src/wasm/rewrite.ts'
import { guest, guests } from './guests.ts'
import { compiles } from './judges.ts'

describe('round trip', () => {
  for (const { name, bytes } of guests())
    test(`${name} comes back byte for byte`, () => {
      expect(Buffer.compare(encode(decode(bytes)), bytes)).toBe(0)
    })
})

/** Two passes: an import, and a memory if wanted, in front of everything, and code before and after loads. */
function rewritten(bytes: Uint8Array, withMemory = true): Rewriter {
  const rewriter = new Rewriter(decode(bytes))
  const hook = rewriter.importFunction('lethe', 'hook', { params: [I32], results: [] })
  const type = { min: 1, max: undefined, shared: false, is64: false }
  const memory = withMemory
    ? rewriter.addImport({ module: 'lethe', name: 'shadow', kind: 'memory', type })
    : rewriter.addMemory(type)
  rewriter.addGlobal({ type: I64, mutable: true }, -7n, 'lethe.count')
  const seen = rewriter.addFunction({
    type: { params: [I32], results: [I32] },
    body: code => code.get(0).call(hook).get(0).access(OP['i32.load8_u'], 4, memory).op(OP.drop).get(0),
  })
  rewriter.rewriteBodies({
    ops: [OP['i32.store']],
    instruction(_, out, body) {
      const value = body.scratch(I32)
      out.set(value).call(seen).get(value)
    },
  })
  rewriter.rewriteBodies({
    ops: [OP['i32.load']],
    instruction(_, out, body) {
      out.call(seen)
      body.keep()
      out.call(seen)
      return true
    },
  })
  return rewriter
}

describe('rewriting', () => {
  for (const name of ['quickjs.wasm', 'sql-wasm.wasm', 'heap/best.wasm'])
    test(`${name} with an import, a memory and code around loads and stores is still a module`, () => {
      expect(compiles(encode(rewritten(guest(name).bytes).finish()))).toBe(true)
    })

  // Without the memory only functions move, and where they are named is known.
  test.each([
    [true, 'heap/best.wasm'],
    [false, 'heap/best.wasm'],
    [false, 'quickjs.wasm'],
  ])(
    'every instruction that was kept knows where it was, after two passes and the renumbering (%s, %s)',
    (withMemory, name) => {
      const { bytes } = guest(name)
      const module = rewritten(bytes, withMemory).finish()
      expect(compiles(encode(module))).toBe(true)
      const from = decode(bytes)
      const again = decode(encode(module))
      let kept = 0
      for (const [n, func] of module.functions.entries()) {
        if (func.original < 0) continue
        const places = new Map<number, string>()
        const source = from.functions[func.original - importCount(from, 'func')]
        if (source === undefined) throw new Error(`function ${func.original} is not in the source`)
        for (const i of instructions(source)) places.set(i.place, `${i.op}`)
        for (const i of instructions({ bytes: func.body, offset: 0 })) {
          const place = originAt(func, i.at)
          if (!places.has(place)) continue
          if (places.get(place) === `${i.op}`) places.delete(place)
        }
        expect([...places], `function ${func.original}`).toEqual([])
        expect(again.functions[n]?.body).toEqual(func.body)
        kept++
      }
      expect(kept).toBe(from.functions.length)
    },
  )

  test('a pass that does nothing leaves the bytes alone', () => {
    const { bytes } = guest('sql-wasm.wasm')
    const rewriter = new Rewriter(decode(bytes))
    rewriter.rewriteBodies({ ops: [OP.nop], instruction: () => false })
    expect(Buffer.compare(encode(rewriter.finish()), bytes)).toBe(0)
  })
})
