import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { GuestCollector } from '../../src/guest/gc.ts'
import { spillRoots } from '../../src/guest/gc-roots.ts'
import { run } from '../../src/guest/instance.ts'
import { guestOf, load } from '../../src/guest/load.ts'
import { findMalloc, type MallocRole, mallocRoles } from '../../src/guest/malloc-functions.ts'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { importCount } from '../../src/wasm/module.ts'
import { validate } from '../../src/wasm/validate.ts'
import { guest, lethe, whyNoGuests } from './guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

const folder = mkdtempSync(join(tmpdir(), 'lethe-gc-'))
afterAll(() => removeFolder(folder))

const always = { growth: 0, least: 1 }

/** Runs gc.c; by default with a collection at each malloc. */
function collected(args: readonly string[], pace: object = always, path = guest('gc')) {
  const loaded = load(path)
  const collector = new GuestCollector(loaded.module, findMalloc(loaded.module), pace)
  const out: Buffer[] = []
  const ending = run(loaded, { ...collector.options, args, stdout: part => void out.push(Buffer.from(part)) })
  return { ending, out: Buffer.concat(out).toString(), counts: collector.counts(), check: collector.check() }
}

describe.skipIf(whyNoGuests !== undefined)(`a guest without free (${whyNoGuests ?? 'compiled here'})`, () => {
  // What is kept alive by a local alone is overwritten by the next malloc if it was not seen.
  for (const [what, count] of [
    ['list', '1'],
    ['trees', '5'],
    ['locals', '12'],
    ['middle', '150'],
    ['grow', '2'],
  ] as const)
    test(`keeps all that it needs though there is a collection at each malloc: ${what}`, () => {
      const { ending, out, counts, check } = collected([what, count])
      expect(out).toBe(lethe([guest('gc'), '--', what, count]).stdout)
      expect(ending).toEqual({ exitCode: 0 })
      expect(check).toBeUndefined()
      expect(counts.collections).toBeGreaterThan(counts.mallocs * 0.5)
      expect(counts.reclaimed).toBeGreaterThan(0)
    })

  test.each(['-O0', '-O1', '-Os', '-O3'])('compiled with %s keeps it, too', level => {
    const path = guest('gc', level)
    const { out } = collected(['locals', '12'], always, path)
    expect(out).toBe(lethe([path, '--', 'locals', '12']).stdout)
  })

  test('has a heap that does not grow with what it throws away', () => {
    // 48 MiB of lists.
    const log = join(folder, 'log')
    const { stdout, stderr } = lethe(['--gc', '--json', log, guest('gc'), '--', 'list', '2000'])
    expect(stderr).toBe('')
    expect(stdout).toBe('0 of 2000 are missing\n')
    const counts = JSON.parse(readFileSync(log, 'utf8')) as Record<string, number | string>
    expect(counts['type']).toBe('gc')
    expect(counts['reclaimed']).toBeGreaterThan(1_500_000)
    expect(counts['heap']).toBeLessThan(8 << 20)
  })

  test('reads what it has freed while something points to it', () => {
    const { out, counts } = collected(['freed'], { least: 1 << 16 })
    expect(out).toBe('42\n')
    expect(counts.frees).toBe(2)
    expect(lethe([guest('gc'), '--', 'freed']).stdout).not.toBe('42\n')
  })

  test('says what came of it, and is refused beside another malloc', () => {
    expect(lethe(['--gc', guest('gc'), '--', 'trees', '14']).stderr).toMatch(
      /^lethe: \d+ collections freed \d+ of \d+ blocks \(.*\); \d+ calls of free did nothing; heap of/,
    )
    expect(lethe(['--gc', '--malloc', 'best', guest('gc')]).stderr).toContain('--gc has its own malloc')
  })

  test('runs on the machine and within a budget as it does alone', () => {
    const args = [guest('gc'), '--', 'middle', '300']
    const plain = lethe(args).stdout
    expect(lethe(['--gc', '--mmu', 'machine', ...args]).stdout).toBe(plain)
    expect(lethe(['--gc', '--budget', '1M', ...args]).stdout).toBe(plain)
  })
})

// Each leaves on the stack the address of a block, that only the operand stack has while $waste takes and drops others. 42 is in it.
const operands: Readonly<Record<string, string>> = {
  'under a call': '(call $make) (drop (call $waste (i32.const 1)))',
  'under the arguments of a call': '(i32.add (call $make) (call $waste (i32.const 0)))',
  'around a block': '(call $make) (block (drop (call $waste (i32.const 1))))',
  'around a block with a result': '(i32.add (call $make) (block (result i32) (call $waste (i32.const 0))))',
  'around nested blocks, below a float':
    '(call $make) (f64.const 1) (loop (block (i32.const 1) (if (then (drop (call $waste (i32.const 1))))))) drop',
  'around the arms of an if':
    '(call $make) (i32.const 0) (if (then) (else (drop (call $waste (i32.const 1)))))',
  'around a block with parameters':
    '(call $make) (i32.const 3) (block (param i32) (drop (call $waste (i32.const 1))) drop)',
  'around a block that is left by a branch': '(call $make) (block (drop (call $waste (i32.const 1))) (br 0))',
  'as a parameter of a block':
    '(call $make) (block (param i32) (result i32) (drop (call $waste (i32.const 1))))',
  'as half of a longer number':
    '(i64.shl (i64.extend_i32_u (call $make)) (i64.const 32)) (drop (call $waste (i32.const 1))) (i64.const 32) i64.shr_u i32.wrap_i64',
  'at an indirect call':
    '(call $make) (drop (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 0)))',
  'just behind its end': '(i32.sub (i32.add (call $make) (i32.const 28)) (call $waste (i32.const 28)))',
}

describe('a block is kept that is only on the operand stack', () => {
  test.each(Object.entries(operands))('%s', async (_, code) => {
    const { parseWat } = await (await import('wabt')).default()
    const text = `(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $waste)
      (func $malloc (export "malloc") (param i32) (result i32) unreachable)
      (func (export "free") (param i32))
      (func $make (result i32) (local i32)
        (i32.store (local.tee 0 (call $malloc (i32.const 28))) (i32.const 42)) (local.get 0))
      (func $waste (param i32) (result i32) (local i32)
        (loop (i32.store (call $malloc (i32.const 28)) (i32.const 13))
          (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 50))))
        (local.get 0))
      (func (export "_start") ${code} i32.load call $exit))`
    const made = parseWat('operands.wat', text, { multi_value: true })
    made.resolveNames()
    const one = guestOf('operands.wasm', Buffer.from(made.toBinary({}).buffer))
    const collector = new GuestCollector(one.module, findMalloc(one.module), always)
    expect(run(one, collector.options)).toEqual({ exitCode: 42 })
    expect(collector.counts().reclaimed).toBeGreaterThan(40)
  })
})

test('the pass that shows the roots leaves real programs valid', () => {
  const packages = join(import.meta.dirname, '../../node_modules')
  for (const path of ['quickjs-wasi/quickjs.wasm', 'sql.js/dist/sql-wasm.wasm']) {
    const { module } = guestOf(path, readFileSync(join(packages, path)))
    // Whatever function it is: as if it were malloc.
    const first = importCount(module, 'func')
    const functions = new Map<number, MallocRole>([
      [first + Math.floor(module.functions.length * 0.3), mallocRoles[0]],
    ])
    validate(decode(encode(spillRoots(functions).apply(module))))
  }
})
