/** The checker in JavaScript programs: their own, through the command line, with modules of ours and of npm's. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { launcher } from '../guest/guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { cannotCompile, library } from './programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-hosted-'))
afterAll(() => removeFolder(folder))
const why = cannotCompile()

interface Report {
  readonly errors: number
  readonly hasAllocator: boolean
  readonly heap: { readonly allocations: number }
  readonly findings: readonly {
    readonly kind: string
    readonly count: number
    readonly frames: readonly { readonly name: string }[]
    readonly notes: readonly { readonly text: string }[]
  }[]
}

let scripts = 0
function check(
  text: string,
  ...options: string[]
): { out: string; err: string; code: number | null; report: Report } {
  const path = join(folder, `${++scripts}.mjs`)
  const log = `${path}.json`
  writeFileSync(path, text)
  const { stdout, stderr, status } = spawnSync(launcher, ['check', '--json', log, ...options, path], {
    encoding: 'utf8',
    timeout: 120_000,
  })
  const report = JSON.parse(readFileSync(log, 'utf8')) as Report
  return { out: stdout, err: stderr, code: status, report }
}

const plain = (text: string): string => {
  const path = join(folder, `${++scripts}.mjs`)
  writeFileSync(path, text)
  return spawnSync(process.execPath, [path], { encoding: 'utf8' }).stdout
}

const host = (wasm: string, body: string): string => `
import { readFileSync } from 'node:fs'
let x
const bytes = () => new Uint8Array(x.memory.buffer)
const noWasi = new Proxy({}, { get: () => () => 0 })
const imports = {
  wasi_snapshot_preview1: noWasi,
  host: {
    // As Emscripten's: what a function throws leaves the stack where it was.
    invoke: (f, value) => {
      const pointer = x.__stack_pointer.value
      try { return x.__indirect_function_table.get(f)(value) } catch (error) {
        if (error.message !== 'thrown') throw error
        x.__stack_pointer.value = pointer
        return -1
      }
    },
    fail: () => { throw new Error('thrown') },
    fill: (at, length) => { bytes().fill(3, at, at + length) },
    exchange: at => { const other = x.malloc(100); bytes().fill(7, other, other + 100); new DataView(x.memory.buffer).setUint32(at, other, true) },
  },
}
x = (await WebAssembly.instantiate(readFileSync(${JSON.stringify(wasm)}), imports)).instance.exports
x._initialize?.()
const print = (...all) => console.log(...all)
${body}`

describe.skipIf(why !== undefined).each(['-O0', '-O2'])(
  'a library of C at %s in a JavaScript program',
  level => {
    const run = (body: string, ...options: string[]): ReturnType<typeof check> =>
      check(host(library('test/guests/check/hosted.c', level), body), ...options)

    test('what the host writes, throws, grows and exchanges is no error, and the program prints the same', () => {
      const body = `
      for (const text of ['', 'a text', 'b'.repeat(300)]) {
        const at = x.malloc(text.length + 1)
        bytes().set(Buffer.from(text + '\\0'), at)
        print(x.count(at))
        x.free(at)
      }
      print(x.thrown(5), x.filled(1000), x.exchanged(), x.grown(1000), x.local(9))
      for (let i = 0; i < 300; i++) x.thrown(200)
      const pointer = x.__stack_pointer.value
      try { x.__indirect_function_table.get(x.functions(2))(4) } catch (error) { print(error.message) }
      x.__stack_pointer.value = pointer
      const [blocks, value] = [0, 1].map(i => x.__indirect_function_table.get(x.functions(i)))
      for (const node of [1, 2, 3].map(x.node)) print(blocks(50), value(node), blocks(70))
      x.memory.grow(3)
      const behind = x.memory.buffer.byteLength - 100
      bytes().fill(65, behind, behind + 50)
      print(x.count(behind), x.thrown(3))`
      const { out, err, code, report } = run(body, '--error-exitcode', '9')
      expect(err).toBe('')
      expect(out).toBe(plain(host(library('test/guests/check/hosted.c', level), body)))
      expect(out.split('\n')[3]).toBe('189 3300 7 1 0')
      expect(report).toMatchObject({ errors: 0, hasAllocator: true, findings: [] })
      expect(report.heap.allocations).toBeGreaterThan(5)
      expect(code).toBe(0)
    })

    test.each([
      ['print(x.over(40))', 'invalid-read', 'over', '0 bytes behind a block of 40 bytes, taken at'],
      [
        'const at = x.malloc(9); x.free(at); print(x.touch(at))',
        'use-after-free',
        'touch',
        'at the start of a block of 9 bytes that was freed at',
      ],
      ['const at = x.malloc(9); x.free(at); x.free(at)', 'double-free', 'free', 'the start of a block of 9'],
      ['x.free(x.malloc(80) + 16)', 'invalid-free', 'free', '16 bytes into a block of 80 bytes'],
      ['x.null(0)', 'null-pointer', 'null', 'a null pointer'],
    ])('%s is an error', (body, kind, name, note) => {
      const { report, code } = run(body, '--error-exitcode', '9')
      expect(report.findings.map(one => one.kind)).toEqual([kind])
      const [{ frames = [], notes = [] } = {}] = report.findings
      expect(frames[0]?.name).toBe(name)
      expect(notes[0]?.text).toContain(note)
      expect(code).toBe(9)
    })

    test('a copy that goes too far is told once, and what it has written is no error', () => {
      const { report } = run('print(x.copied())')
      expect(report.findings.map(one => one.kind)).toEqual(['invalid-read'])
      expect(report.errors).toBe(1)
    })
  },
)

describe.skipIf(why !== undefined)('what is special in a JavaScript program', () => {
  test('in code that was not optimised an array on the stack has an end', () => {
    const { report } = check(host(library('test/guests/check/hosted.c', '-O0'), 'x.local(10)'))
    expect(report.findings.map(one => one.kind)).toEqual(['invalid-write'])
    expect(report.findings[0]?.notes[0]?.text).toContain('behind the local variable numbers')
  })

  test('two instances are told together', () => {
    const wasm = library('test/guests/check/hosted.c', '-O0')
    const { report } = check(
      host(
        wasm,
        `x.over(8)
        const wasm = readFileSync(${JSON.stringify(wasm)})
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), imports)
        exports.over(16)`,
      ),
    )
    expect(report.findings.map(one => one.notes[0]?.text)).toEqual([
      '0 bytes behind a block of 8 bytes, taken at',
      '0 bytes behind a block of 16 bytes, taken at',
    ])
  })

  test('what the start function takes is a block like any other', () => {
    const module = decode(readFileSync(library('test/guests/check/hosted.c', '-O0')))
    const start = module.exports.find(one => one.name === 'first')?.index
    const wasm = join(folder, 'start.wasm')
    writeFileSync(wasm, encode({ ...module, start }))
    const { out, report } = check(host(wasm, 'print(x.owned())'))
    expect(out).toBe('111\n')
    expect(report.findings.map(one => one.notes[0]?.text)).toEqual([
      '0 bytes behind a block of 4 bytes, taken at',
    ])
  })

  test('a module that can not be checked is told, and runs', () => {
    const path = join(folder, 'shared.mjs')
    // (module (memory 1 1 shared) (func (export "f") (result i32) i32.const 7))
    writeFileSync(
      path,
      `const hex = '0061736d010000000105016000017f03020100050401030101070501016600000a0601040041070b'
       const { instance } = await WebAssembly.instantiate(Buffer.from(hex, 'hex'))
       console.log(instance.exports.f())`,
    )
    const { stdout, stderr, status } = spawnSync(launcher, ['check', path], { encoding: 'utf8' })
    expect(stdout).toBe('7\n')
    expect(stderr).toContain('is not checked: the module shares its memory between threads')
    expect(status).toBe(0)
  })

  test.each([
    [['--dir', '/tmp'], '--dir is for programs for WASI'],
    [['--leak-check', 'full'], "Leaks can't be told in"],
  ])('%j is refused', (options, words) => {
    const path = join(folder, 'nothing.mjs')
    writeFileSync(path, 'console.log(1)')
    const { stdout, stderr, status } = spawnSync(launcher, ['check', ...options, path], { encoding: 'utf8' })
    expect(stdout).toBe('')
    expect(stderr).toContain(words)
    expect(status).toBe(2)
  })
})

const packaged = (name: string): string => fileURLToPath(import.meta.resolve(name))

test('AssemblyScript: frames of one word, a start function, a heap that is its own', {
  timeout: 60_000,
}, () => {
  const source = join(folder, 'table.ts')
  const wasm = join(folder, 'table.wasm')
  writeFileSync(
    source,
    `class Link { constructor(public key: string, public next: Link | null) {} }
     const table = new Map<string, i32>()
     let first: Link | null = null
     table.set('start', 1)
     export function fill(n: i32): i32 {
       for (let i = 0; i < n; i++) {
         table.set('k' + (i * 7919 % 10007).toString(), i)
         first = new Link('n' + i.toString(), i % 7 == 0 ? null : first)
       }
       return table.size
     }`,
  )
  const asc = fileURLToPath(new URL('../../node_modules/.bin/asc', import.meta.url))
  const made = spawnSync(process.execPath, [asc, source, '-o', wasm, '-O2'], { encoding: 'utf8' })
  expect(made.stderr).not.toContain('ERROR')
  const { out, report } = check(`
    import { readFileSync } from 'node:fs'
    const { instance } = await WebAssembly.instantiate(readFileSync(${JSON.stringify(wasm)}), { env: { abort() {} } })
    console.log(instance.exports.fill(3000))`)
  expect(out).toBe('3001\n')
  expect(report).toMatchObject({ errors: 0, findings: [] })
})

describe('packages from npm have no error, and print what they print', { timeout: 120_000 }, () => {
  test('sql.js', () => {
    const { out, err, report } = check(`import { createRequire } from 'node:module'
      const SQL = await createRequire(import.meta.url)(${JSON.stringify(packaged('sql.js'))})()
      const db = new SQL.Database()
      db.create_function('twice', x => 2 * x)
      db.run('create table t(a integer primary key, b text); begin')
      const insert = db.prepare('insert into t values(?, ?)')
      for (let i = 0; i < 2000; i++) insert.run([i, 'row ' + ((i * 7919) % 10007)])
      insert.free()
      try { db.run('insert into missing values(1)') } catch (error) { console.log(error.message) }
      db.run('commit')
      console.log(JSON.stringify(db.exec("select count(*), sum(twice(a)) from t where b like 'row 1%'")))
      console.log(db.export().length)`)
    expect(err).toBe('')
    expect(out).toContain('no such table: missing\n')
    expect(out).toContain('"values":[[')
    expect(report).toMatchObject({ errors: 0, findings: [] })
  })

  test('quickjs-wasi', () => {
    const { out, err, report } = check(`import { readFileSync } from 'node:fs'
      const { QuickJS } = await import(${JSON.stringify(packaged('quickjs-wasi'))})
      const vm = await QuickJS.create({ wasm: readFileSync(${JSON.stringify(packaged('quickjs-wasi/quickjs.wasm'))}) })
      const result = vm.evalCode(\`const t = []
        for (let i = 0; i < 2000; i++) t.push({ i, s: String(i * 7919 % 10007) })
        t.sort((a, b) => (a.s < b.s ? -1 : 1))
        t[77].s + ':' + JSON.stringify(t).length\`)
      console.log(vm.dump === undefined ? String(result.value) : JSON.stringify(vm.dump(result.value ?? result)))`)
    expect(err).toBe('')
    expect(out).not.toBe('')
    expect(report).toMatchObject({ errors: 0, findings: [], hasAllocator: true })
    expect(report.heap.allocations).toBeGreaterThan(50)
  })
})
