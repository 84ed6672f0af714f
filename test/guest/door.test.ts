// JavaScript programs with WebAssembly in them: the same output whatever is done with their modules.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { cannotAttach } from '../cli-helpers.ts'
import { guest, launcher, lethe, whyNoGuests } from './guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

const folder = mkdtempSync(join(tmpdir(), 'lethe-door-'))
afterAll(() => removeFolder(folder))

function script(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const packaged = (name: string): string => fileURLToPath(import.meta.resolve(name))
const node = (path: string, ...args: string[]): string => {
  const { stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout
}

const sql = script(
  'sql.mjs',
  `import { createRequire } from 'node:module'
   const SQL = await createRequire(import.meta.url)(${JSON.stringify(packaged('sql.js'))})()
   const db = new SQL.Database()
   db.run('create table t(a integer primary key, b text); begin')
   const insert = db.prepare('insert into t values(?, ?)')
   for (let i = 0; i < 4000; i++) insert.run([i, 'row ' + ((i * 7919) % 10007) + 'x'.repeat(i % 90)])
   insert.free()
   db.run('commit; create index i on t(b)')
   console.log(JSON.stringify(db.exec("select count(*), min(b), max(b) from t where b like 'row 1%'")))
   console.log(db.export().length, process.argv.slice(2).join())`,
)
const quickjs = script(
  'quickjs.mjs',
  `import { readFileSync } from 'node:fs'
   const { QuickJS } = await import(${JSON.stringify(packaged('quickjs-wasi'))})
   const vm = await QuickJS.create({ wasm: readFileSync(${JSON.stringify(packaged('quickjs-wasi/quickjs.wasm'))}) })
   const { value } = vm.evalCode(\`const t = []
     for (let i = 0; i < 4000; i++) t.push({ i, s: String(i * 7919 % 10007) })
     t.sort((a, b) => (a.s < b.s ? -1 : 1))
     t[77].s + ':' + JSON.stringify(t).length\`)
   console.log(String(value))`,
)

describe('a JavaScript program that hosts WebAssembly', () => {
  const ways = [
    ['as it is', []],
    ['on the machine', ['--mmu', 'machine', '--json', join(folder, 'log')]],
    ...(cannotAttach() === undefined ? [['within a budget', ['--budget', '1M']] as const] : []),
  ] as const
  test.each(ways)('%s prints the same', (_way, options) => {
    for (const path of [sql, quickjs]) {
      const { stdout, stderr, status } = lethe([...options, path, '--', 'a', 'b'])
      expect(stderr).toBe('')
      expect(stdout).toBe(node(path, 'a', 'b'))
      expect(status).toBe(0)
    }
  })

  test.skipIf(cannotAttach() !== undefined)('stays within its budget', () => {
    const log = join(folder, 'budget')
    lethe(['--budget', '512K', '--json', log, sql])
    const { peak, faults } = JSON.parse(readFileSync(log, 'utf8')) as { peak: number; faults: number }
    expect(peak).toBeLessThanOrEqual(128)
    expect(faults).toBeGreaterThan(10)
  })

  test.each([
    ['--malloc', 'best'],
    ['--malloc', 'tlsf'],
    ['--malloc', 'observe', '--json', join(folder, 'observed')],
  ])(
    'may have another malloc though it has no names, and its realloc is part of a larger function: %s %s',
    (...options) => {
      const { stdout, stderr, status } = lethe([...options, sql])
      expect(stderr).toBe('')
      expect(stdout).toBe(node(sql))
      expect(status).toBe(0)
    },
  )

  test('that can be executed is a command like any other', () => {
    const path = script('own.mjs', '#!/bin/sh\necho "$0" is for a shell\n')
    chmodSync(path, 0o755)
    expect(lethe([path]).stdout).toBe(`${path} is for a shell\n`)
  })

  test('ends as it ends under node', () => {
    expect(lethe(['--mmu', 'machine', script('exit.cjs', 'process.exitCode = 7')]).status).toBe(7)
    const { status, stderr } = lethe([script('throw.mjs', 'throw new RangeError("so it is")')])
    expect(status).toBe(1)
    expect(stderr).toContain('RangeError: so it is')
  })
})

describe.skipIf(whyNoGuests !== undefined)(`its modules (${whyNoGuests ?? 'compiled here'})`, () => {
  const host = script(
    'host.mjs',
    `import { readFileSync } from 'node:fs'
     import { WASI } from 'node:wasi'
     const bytes = readFileSync(process.argv[2])
     const ways = {
       async module() { return new WebAssembly.Instance(new WebAssembly.Module(bytes), wasi().getImportObject()) },
       async compile() { return WebAssembly.instantiate(await WebAssembly.compile(bytes), wasi().getImportObject()) },
       async bytes() { return (await WebAssembly.instantiate(bytes, wasi().getImportObject())).instance },
       async streaming() {
         const response = new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
         return (await WebAssembly.instantiateStreaming(response, wasi().getImportObject())).instance
       },
     }
     let last
     const wasi = () => (last = new WASI({ version: 'preview1', args: ['heap', ...process.argv.slice(4)], returnOnExit: true }))
     const instance = await ways[process.argv[3]]()
     const module = new WebAssembly.Module(bytes)
     console.log(WebAssembly.Module.imports(module).length, WebAssembly.Module.exports(module).length)
     console.log(Object.keys(instance.exports).join(), instance instanceof WebAssembly.Instance, module instanceof WebAssembly.Module)
     process.exitCode = last.start(instance)
     await WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 9])).catch(error => console.log(error.message))`,
  )

  test.each(['module', 'compile', 'bytes', 'streaming'])(
    'get another malloc, and show nothing of it, by whatever call they come (%s)',
    way => {
      const args = [guest('heap'), way, '2000']
      const { stdout } = spawnSync(process.execPath, ['--no-warnings', host, ...args], { encoding: 'utf8' })
      expect(stdout.split('\n').length).toBeGreaterThan(3)
      for (const options of [
        ['--malloc', 'tlsf'],
        ['--malloc', 'best', '--mmu', 'machine', '--json', join(folder, 'x')],
      ])
        expect(lethe([...options, host, '--', ...args]).stdout).toBe(stdout)
    },
  )

  test.each(['host.cjs', 'imported.mjs', 'source.mjs'])(
    'are seen where no function of the program makes them (%s)',
    name => {
      const wasm = guest('heap')
      const wasi = `new WASI({ version: 'preview1', args: ['heap', '2000'], returnOnExit: true })`
      const programs: Readonly<Record<string, string>> = {
        'host.cjs': `const { WASI } = require('node:wasi')
          const wasi = ${wasi}
          const made = new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(wasm)}))
          const instance = new WebAssembly.Instance(made, wasi.getImportObject())
          process.exitCode = wasi.start(instance)`,
        // Node makes it.
        'imported.mjs': `import { f } from ${JSON.stringify(join(folder, 'plain.wasm'))}
          console.log(f())`,
        'source.mjs': `import { WASI } from 'node:wasi'
          import source module from ${JSON.stringify(wasm)}
          const wasi = ${wasi}
          process.exitCode = wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()))`,
      }
      // (module (memory 1) (func (export "f") (result i32) i32.const 7))
      const hex = '0061736d010000000105016000017f030201000503010001070501016600000a0601040041070b'
      writeFileSync(join(folder, 'plain.wasm'), Buffer.from(hex, 'hex'))
      const path = script(name, programs[name] as string)
      const { stdout } = spawnSync(process.execPath, ['--no-warnings', path], { encoding: 'utf8' })
      const log = join(folder, `${name}.json`)
      const run = lethe(['--mmu', 'machine', '--json', log, path])
      expect(run.stdout).toBe(stdout)
      expect(stdout).not.toBe('')
      expect(JSON.parse(readFileSync(log, 'utf8'))).toMatchObject({ type: 'machine' })
    },
  )

  test('import a memory with a maximum, from an object that makes what it is asked for', () => {
    const importing = script(
      'importing.mjs',
      `import { readFileSync } from 'node:fs'
       import { WASI } from 'node:wasi'
       const memory = new WebAssembly.Memory({ initial: 20, maximum: 4000 })
       const asked = []
       const names = new Proxy({ a: 1, b: 2 }, { get: (_target, name) => { asked.push(name); return memory } })
       const wasi = new WASI({ version: 'preview1', args: ['heap', '2000'], returnOnExit: true })
       const imports = { ...wasi.getImportObject(), env: names }
       const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), imports)
       process.exitCode = wasi.start({ exports: { ...instance.exports, memory } })
       console.log(asked.every(name => name === 'memory'))
       // A part that works on it, too, and has no malloc:
       // (module (import "env" "memory" (memory 1)) (func (export "f") (result i32) i32.const 7))
       const part = '0061736d010000000105016000017f020f0103656e76066d656d6f72790200010302010007050101660000' +
         '0a0601040041070b'
       const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(part, 'hex')), { env: { memory } })
       console.log(exports.f() === 7)`,
    )
    const wasm = guest(
      'heap',
      '-Wl,--import-memory',
      '-Wl,--max-memory=262144000',
      '-Wl,--initial-memory=1310720',
    )
    const args = ['--no-warnings', importing, wasm]
    const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(stdout).toMatch(/true\n$/)
    for (const options of [
      ['--malloc', 'best'],
      ['--mmu', 'machine', '--json', join(folder, 'y')],
    ])
      expect(lethe([...options, importing, '--', wasm]).stdout).toBe(stdout)
    const words = ['check', '--error-exitcode', '9', importing, '--', wasm]
    const checked = spawnSync(launcher, words, { encoding: 'utf8' })
    expect(checked.stdout).toBe(stdout)
    // It asks for one that no heap has, to see what comes.
    expect(checked.stderr).toContain('malloc is asked for -16 bytes')
    expect(checked.stderr).toContain('ERROR SUMMARY: 1 error ')
  })

  test('stay as they are if they are parts without a malloc, or of a proposal that we do not read', () => {
    const parts = script(
      'parts.mjs',
      `import { readFileSync } from 'node:fs'
       import { WASI } from 'node:wasi'
       const wasi = new WASI({ version: 'preview1', args: ['heap', '200'], returnOnExit: true })
       const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), wasi.getImportObject())
       process.exitCode = wasi.start(instance)
       const { memory } = instance.exports
       // (module (import "env" "memory" (memory 1)) (func (export "f") (result i32) i32.const 7))
       const part = '0061736d010000000105016000017f020f0103656e76066d656d6f7279020001030201000705010166000' +
         '00a0601040041070b'
       console.log(new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(part, 'hex')), { env: { memory } }).exports.f())
       // (module (type (struct (field i32))) (memory 1) (func (export "g") (result i32) i32.const 8))
       const bytes = Buffer.from('0061736d01000000' + '010902' + '5f017f00' + '6000017f' + '03020101' + '0503010001' + '070501016700' + '00' + '0a0601040041080b', 'hex')
       console.log(new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.g())`,
    )
    for (const options of [
      ['--malloc', 'best'],
      ['--mmu', 'machine', '--json', join(folder, 'z')],
    ]) {
      const { stdout, stderr } = lethe([...options, parts, '--', guest('heap')])
      expect(stdout).toMatch(/7\n8\n$/)
      expect(stderr).toContain('left as it is: wasm module 3: Unsupported WebAssembly at byte 11')
    }
  })

  test('are watched', () => {
    const log = join(folder, 'sites')
    lethe(['--malloc', 'observe', '--json', log, host, '--', guest('heap'), 'bytes', '500'])
    const lines = readFileSync(log, 'utf8').trim().split('\n')
    expect(lines.map(line => (JSON.parse(line) as { type: string }).type)).toContain('site')
  })
})
