import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { type LensSource, ownLens } from '../src/lens/own.ts'
import { impurityOf } from '../src/lens/purity.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

const parameters = ['source', 'number', 'bytes', 'constants'] as const

/** What is said of a get with this body. */
function verdict(body: string): string | undefined {
  const found = impurityOf(`get(source, at, out, constants) {\n${body}\n}`, parameters)
  return found && `line ${found.line}: ${found.reason}`
}

/** Bytes with a key over them. */
const veiled = ownLens({
  constants: { key: [1, 2, 3] },
  size: source => source.size,
  get(source, at, out, { key }) {
    out.set(source.read(at, out.length))
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) ^ Number(key[(at + i) % key.length])
  },
  put(source, at, bytes, { key }) {
    const made = bytes.map((byte, i) => byte ^ Number(key[(at + i) % key.length]))
    return made.length === 0 ? [] : [{ offset: at, bytes: made }]
  },
})
describe('a lens of your own', () => lensContract(veiled, { backings: fc.uint8Array({ maxLength: 200 }) }))

/** Samples of 24 bits as numbers between -1 and 1. */
const samples = ownLens({
  as: 'f32',
  size: source => Math.floor(source.size / 3) * 4,
  get(source, at, out) {
    const first = Math.floor(at / 4)
    const end = Math.ceil((at + out.length) / 4)
    const bytes = source.read(first * 3, (end - first) * 3)
    const view = new DataView(new ArrayBuffer((end - first) * 4))
    for (let i = 0; i < end - first; i++) {
      const value = (bytes[3 * i] ?? 0) | ((bytes[3 * i + 1] ?? 0) << 8) | ((bytes[3 * i + 2] ?? 0) << 16)
      view.setFloat32(4 * i, ((value << 8) >> 8) / 2 ** 23, true)
    }
    out.set(new Uint8Array(view.buffer, at - first * 4, out.length))
  },
})
describe('a lens of your own that makes numbers', () => lensContract(samples))

describe('lens', () => {
  it('makes what its functions say, in another thread by its name', () => {
    const backing = bytesBacking(Uint8Array.of(0, 0, 64, 0, 0, 128))
    const out = new Float32Array(2)
    lensNamed(samples.name).get(backing, 0, new Uint8Array(out.buffer))
    expect([...out]).toEqual([0.5, -1])
    expect(samples.element).toBe('f32')
    expect(samples.name).not.toContain('|')
  })

  it('is refused with the line and the reason if it is not pure', () => {
    const captured = 3
    const impure = (): unknown =>
      ownLens({
        size: source => source.size,
        get(_source, _at, out) {
          out.fill(1)
          out[0] = captured
        },
      })
    expect(impure).toThrow(LensError)
    expect(impure).toThrow(/get, line 3: captured is a free variable.*out\[0\] = captured/)
    expect(() => ownLens({ size: () => Date.now(), get: () => undefined })).toThrow(
      /size, line 1: Date reads the clock/,
    )
    expect(() =>
      ownLens({ size: Math.abs as unknown as (source: LensSource) => number, get: () => undefined }),
    ).toThrow(/built-in or bound/)
  })

  it('that fails, or gives a size that is none, is an error and not a crash', () => {
    const backing = bytesBacking(new Uint8Array(10))
    const lens = ownLens({
      size: source => source.size,
      get() {
        throw new RangeError('no luck')
      },
    })
    expect(() => lens.get(backing, 0, new Uint8Array(4))).toThrow(/get failed: no luck/)
    expect(() => ownLens({ as: 'f64', size: () => 12, get: () => undefined }).size(backing)).toThrow(
      /size gave 12/,
    )
    expect(() =>
      ownLens({ size: source => source.read(-1, 2).length, get: () => undefined }).size(backing),
    ).toThrow(/reads 2 bytes at -1/)
    expect(() => lensNamed('own?%7B%7D')).toThrow(LensError)
  })
})

describe('pure is', () => {
  const good: readonly string[] = [
    'for (let i = 0, j = at; i < out.length; i += 2, j++) out[i] = out[j % 7] ^ (i << 2)',
    'const table = new Uint16Array(256); for (const byte of source.read(0, 10)) table[byte] = table[byte] + 1; out[0] = table[1]',
    'const sum = (a, b) => a + b; let total = 0; for (const x of [1, 2]) total = sum(total, x); out[0] = total',
    'const text = new TextDecoder().decode(source.read(at, 10)); const { length } = text; out[0] = length + parseInt(text, 16)',
    'function walk(n) { return n > 0 ? walk(n - 1) : Math.sqrt(4) } out[0] = walk(3)',
    'const seen = new Map(); seen.set(1, 2); seen.get(1); const o = { a: 1, ...constants }; o.b = 2; out[0] = o.a',
    'outer: for (var k = 0; k < 3; k++) { switch (k) { case 1: continue outer; default: break } } try { out[k] = 1 } catch (e) { throw new Error(`bad ${e.message}`) }',
    "const v = new DataView(out.buffer, out.byteOffset); v.setFloat64(0, Number('1.5'), true); out[v.getUint8(0)] = 1; constants['name']; out[constants.n | 0] = 1",
  ]
  it.each(good)('%s', body => expect(verdict(body)).toBeUndefined())
})

describe('not pure is', () => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['out[0] = 1\nout[1] = Date.now()', /^line 3: Date reads the clock/],
    ['out[0] = performance.now()', /reads the clock/],
    ['out[0] = Math.random() * 256', /Math.random\(\) is random/],
    ["out[0] = Math['random']()", /Math\[…\] is not known/],
    ['const m = Math; out[0] = m.random()', /Math itself may not be handed on/],
    ['const { random } = Math; out[0] = random()', /Math itself/],
    ['crypto.getRandomValues(out)', /is random/],
    ['console.log(at)', /input or output/],
    ['process.env.HOME', /input or output/],
    ["require('fs')", /input or output/],
    ['counter++', /counter is a free variable/],
    ['globalThis.n = 1', /changes globalThis/],
    ['out[0] = globalThis.n', /global state/],
    ['Math.x = 1', /changes Math/],
    ['[Math.x] = [1]', /changes Math/],
    ['for (Math.x of [1]) out[0] = 1', /changes Math/],
    ['Array.prototype.map = 1', /changes the method map/],
    ['Array.prototype.n = 1', /changes Array/],
    ['Object.assign(Object, {})', /not known to be pure|handed on/],
    ['constants.n = 1', /changes the constants/],
    ['source.size = 1', /changes the source/],
    ['out.slice = () => []', /changes the method slice/],
    ["import('fs')", /loads code/],
    ['eval("1")', /not there to be looked at/],
    ['new Function("return 1")()', /not there to be looked at/],
    ['out.constructor.constructor("return 1")()', /can reach anything/],
    ["out['constructor']", /can reach anything/],
    ["out['const' + 'ructor']", /a key that may be any name/],
    ['out[`constructor`]', /a key that may be any name/],
    ['const { constructor } = out', /can reach anything/],
    ['const { ["constructor"]: c } = out', /can reach anything/],
    ['for (const k in out) out[k] = 1', /a key that may be any name/],
    ['const f = k => out[k]; f("constructor")', /a key that may be any name/],
    ['let k = 1; k = constants.k; out[k] = 1', /a key that may be any name/],
    ['const a = ["constructor"]; out[a[0]]', /a key that may be any name/],
    ['const f = async () => 1', /async function/],
    ['function* g() { yield 1 }', /generator|yield/],
    ['out[0] = this.n', /'this'/],
    ['class A {}', /class/],
    ['String.raw`a`', /tagged template/],
    ['out[0] = arguments.length', /hides/],
    ['setTimeout(() => 1)', /something later/],
    ['Promise.resolve()', /asynchronous/],
    ['out[0] = "a".localeCompare("b")', /can reach anything|machine/],
    ['new Error().stack', /can reach anything|machine/],
    ['[1].map(Number)', /Number itself may not be handed on/],
    ['new.target', /looks at how/],
  ]
  it.each(bad)('%s', (body, reason) => expect(verdict(body)).toMatch(reason))

  it('an async function, a generator, and what is no function', () => {
    expect(impurityOf('async (source, at, out) => 1', parameters)?.reason).toContain('async')
    expect(impurityOf('*get(source) { yield 1 }', parameters)?.reason).toMatch(/generator/)
    expect(impurityOf('get x() { return 1 }', parameters)?.reason).toMatch(/no function|not that of/)
    expect(impurityOf('function f() { [native code] }', parameters)?.reason).toContain('built-in')
    expect(impurityOf('class A {}', parameters)?.reason).toContain('no function')
  })
})

describe('the examples of docs/lenses.md', () => {
  const examples = [...readFileSync('docs/lenses.md', 'utf8').matchAll(/^```ts own\n(.*?)^```$/gms)]
  it('are pure', () => {
    expect(examples).toHaveLength(3)
    for (const [, code = ''] of examples) {
      const make = new Function(
        'lens',
        code.replace(/^import.*$/gm, '').replace(/^(?:export )?const \w+ =/m, 'return'),
      )
      expect(make(ownLens)).toHaveProperty('size')
    }
  })
})
