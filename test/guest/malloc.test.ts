// Whose malloc it is: found without names, and what becomes of blocks from before it was ours.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { allocatorPolicy, withAllocator } from '../../src/guest/malloc.ts'
import { findMalloc } from '../../src/guest/malloc-functions.ts'
import { findMallocAndFree, findMallocByShape } from '../../src/guest/malloc-shape.ts'
import { run } from '../../src/guest/instance.ts'
import { guestOf, load } from '../../src/guest/load.ts'
import { importCount } from '../../src/wasm/module.ts'
import { readNames } from '../../src/wasm/names.ts'
import { guest, lethe, whyNoGuests } from './guests.ts'

vi.setConfig({ testTimeout: 60_000 })

const packages = join(import.meta.dirname, '../../node_modules')
const packed = (path: string) => guestOf(path, readFileSync(join(packages, path))).module

describe.skipIf(whyNoGuests !== undefined)(`malloc without names (${whyNoGuests ?? 'compiled here'})`, () => {
  test.each(['heap', 'small', 'gc', 'files'])('is what has the names when there are some: %s.c', name => {
    const { module } = load(guest(name))
    const { functions } = readNames(module)
    const found = [...(findMallocByShape(module) ?? [])].map(
      ([index, role]) => `${role} ${functions.get(index)}`,
    )
    const family = [
      ['malloc', 'dlmalloc'],
      ['free', 'dlfree'],
      ['realloc', 'realloc'],
      ['calloc', 'calloc'],
      ['aligned_alloc', 'internal_memalign'],
      ['malloc_usable_size', 'malloc_usable_size'],
    ]
    const there = family.filter(([, own]) => [...functions.values()].includes(own as string))
    expect(found.toSorted()).toEqual(there.map(pair => pair.join(' ')).toSorted())
    expect(found.length).toBeGreaterThanOrEqual(3)
  })

  test('can be exchanged, watched, and done without', () => {
    const stripped = guest('heap', '-Wl,--strip-all')
    const args = [stripped, '--', '5000']
    const { stdout } = lethe(args)
    for (const how of [['--malloc', 'best'], ['--malloc', 'buddy'], ['--malloc', 'observe'], ['--gc']]) {
      const one = lethe([...how, ...args])
      expect(one.stdout).toBe(stdout)
      expect(one.status).toBe(0)
    }
  })
})

const leb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)])

test('malloc of packages without names: all of the family or nothing', () => {
  // It exports calloc and realloc, so that we can see.
  const quickjs = packed('quickjs-wasi/quickjs.wasm')
  const shaped = findMallocByShape(quickjs) ?? new Map<number, string>()
  const byRole = new Map([...shaped].map(([index, role]) => [role, index]))
  for (const { name, index } of quickjs.exports)
    if (name === 'realloc' || name === 'calloc') expect(byRole.get(name)).toBe(index)
  expect([...byRole.keys()].toSorted()).toEqual(['calloc', 'free', 'malloc', 'malloc_usable_size', 'realloc'])
  // A linker has put realloc into another function, which gives malloc something else than its own second argument.
  const realloc = byRole.get('realloc') as number
  const first = importCount(quickjs, 'func')
  const { body, ...rest } = quickjs.functions[realloc - first] as (typeof quickjs.functions)[number]
  // local.get 1, call malloc.
  const passes = [0x20, 1, 0x10, ...leb(byRole.get('malloc') as number)]
  const other = Buffer.from(body)
  let places = 0
  for (
    let at = other.indexOf(Buffer.from(passes));
    at >= 0;
    at = other.indexOf(Buffer.from(passes), at + 1)
  ) {
    other[at + 1] = 0
    places++
  }
  expect(places).toBeGreaterThan(0)
  const inlined = quickjs.functions.with(realloc - first, { ...rest, body: other })
  expect(findMallocByShape({ ...quickjs, functions: inlined })).toBeUndefined()
  expect(findMallocAndFree({ ...quickjs, functions: inlined })?.size).toBe(2)
  // Of its calloc a linker has made a function with one parameter, and realloc is part of another. It exports malloc and free for its host.
  const sql = packed('sql.js/dist/sql-wasm.wasm')
  expect(findMallocByShape(sql)).toBeUndefined()
  const exported = (name: string): number => sql.exports.find(one => one.name === name)?.index ?? -1
  expect([...(findMallocAndFree(sql) ?? [])]).toEqual([
    [exported('Ia'), 'malloc'],
    [exported('Ja'), 'free'],
  ])
  const free = byRole.get('free') as number
  const functions = quickjs.functions.with(free - importCount(quickjs, 'func'), quickjs.functions[0] as never)
  expect(findMallocByShape({ ...quickjs, functions })).toBeUndefined()
  expect(findMallocAndFree({ ...quickjs, functions })).toBeUndefined()
})

test('blocks from before malloc was ours are kept when they are freed, and copied when they are resized', async () => {
  const { parseWat } = await (await import('wabt')).default()
  const text = `(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (data (i32.const 65504) "stored while it ran, up to the end")
    (func $malloc (export "malloc") (param i32) (result i32) unreachable)
    (func $free (export "free") (param i32) unreachable)
    (func $realloc (export "realloc") (param i32 i32) (result i32) unreachable)
    (func (export "_start") (local i32)
      (local.set 0 (call $realloc (i32.const 65504) (i32.const 100)))
      (call $free (i32.const 65504))
      (call $free (call $realloc (i32.const 0) (i32.const 100)))
      (if (i32.le_u (local.get 0) (i32.const 65535)) (then (call $exit (i32.const 1))))
      (if (i64.ne (i64.load (local.get 0)) (i64.load (i32.const 65504))) (then (call $exit (i32.const 2))))
      (if (i64.ne (i64.load offset=24 (local.get 0)) (i64.load offset=24 (i32.const 65504)))
        (then (call $exit (i32.const 3))))
      (local.set 0 (call $realloc (local.get 0) (i32.const 5000)))
      (call $exit (i32.load8_u offset=3 (local.get 0)))))`.replace('up to the end', 'to the e')
  const made = parseWat('stored.wat', text)
  made.resolveNames()
  const stored = guestOf('stored.wasm', Buffer.from(made.toBinary({}).buffer))
  const options = withAllocator(stored.module, findMalloc(stored.module), allocatorPolicy('best'))
  expect(run(stored, options)).toEqual({ exitCode: 'r'.charCodeAt(0) })
})
