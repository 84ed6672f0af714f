/** The eleven bug programs do what their pages say, with each compiler that is here. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { removeFolder } from '../../src/sys/folder.ts'

const folder = join(import.meta.dirname, '../../examples/bugs')
const scratch = mkdtempSync(join(tmpdir(), 'lethe-bugs-'))
afterAll(() => removeFolder(scratch))

/** How each program ends: its output, and its exit code or signal. Of undefined behaviour only what both compilers show. */
const endings: Readonly<Record<string, [output: RegExp, end: number | string]>> = {
  '01-bad-pointer': [/^/, 'SIGSEGV'],
  '02-uninitialised': [/y ends with 1005 1006/, 1],
  '03-element-size': [/9\d of 100 ints of another block were written over/, 'SIGABRT'],
  '04-off-by-one': [/written 4 pointers into room for 3/, 'SIGABRT'],
  '05-string-limit': [/balance 8388607/, 1],
  '06-pointer-not-object': [/removed 1, 3 packets left/, 1],
  '07-pointer-arithmetic': [/30 is not found/, 1],
  '08-address-of-local': [/val is (?!42 )\d+/, 1],
  '09-double-free': [/freeing x again/, 'SIGABRT'],
  '10-use-after-free': [/y\[5\] is 501/, 1],
  '11-leak': [/3\d{6} bytes are allocated that nobody can reach/, 1],
}

test('every program has its page and its line in the table', () => {
  const names = readdirSync(folder).filter(name => name.endsWith('.c'))
  expect(names.map(name => name.slice(0, -2))).toEqual(Object.keys(endings))
  const table = readFileSync(join(folder, 'README.md'), 'utf8')
  for (const name of Object.keys(endings)) {
    expect(table).toContain(`[${name}.c](${name}.c)`)
    const page = readFileSync(join(folder, `${name}.md`), 'utf8')
    for (const word of ['**What happens.**', '**Where.**', '**Why.**', '**Cure.**'])
      expect(page).toContain(word)
  }
})

// glibc's abort and its reuse of blocks are what the pages tell; another C library may do otherwise.
const glibc = spawnSync('ldd', ['--version'], { encoding: 'utf8' }).stdout?.includes('GLIBC') ?? false

for (const compiler of ['gcc', 'clang']) {
  const here = spawnSync(compiler, ['--version']).status === 0
  describe.skipIf(!here || !glibc)(`${compiler}${here ? '' : ' (not installed)'}`, () => {
    test.each(Object.entries(endings))('%s', { timeout: 30_000 }, (name, [output, end]) => {
      const program = join(scratch, `${name}-${compiler}`)
      const built = spawnSync(compiler, ['-w', '-g', '-o', program, join(folder, `${name}.c`)], {
        encoding: 'utf8',
      })
      expect([built.status, built.stderr]).toEqual([0, ''])
      const { stdout, status, signal } = spawnSync(program, {
        input: '5\n',
        encoding: 'utf8',
        timeout: 10_000,
      })
      expect(stdout).toMatch(output)
      expect(signal ?? status).toBe(end)
    })
  })
}
