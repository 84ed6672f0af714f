// Debug info, of a program that clang compiles here; its line tables are compared with what llvm-dwarfdump reads.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { instructions } from '../../src/wasm/instructions.ts'
import type { Module } from '../../src/wasm/module.ts'
import { OP } from '../../src/wasm/opcode-table.ts'
import { Rewriter } from '../../src/wasm/rewrite.ts'
import { Source } from '../../src/wasm/source.ts'
import { clangMissing } from './clang.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const program = `
struct point { int x, y; char name[12]; };
int table[10];
static inline int twice(int v) {
  int w = v * 2;
  table[w % 10] = w;
  return w + 1;
}
__attribute__((noinline)) int sum(struct point *p, int n) {
  static int calls;
  volatile char buffer[32];
  int total = 0;
  calls++;
  buffer[n & 31] = 1;
  for (int i = 0; i < n; i++)
    total += twice(p[i].x) + buffer[i & 31];
  return total;
}
int main(int argc, char **argv) {
  struct point points[3] = {{argc, 2, "a"}, {3, 4, "b"}, {5, 6, "c"}};
  return sum(points, 3);
}
`

const missing = clangMissing()
describe.skipIf(missing !== undefined)(
  `debug info${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let folder = ''
    const compiled = new Map<string, { path: string; module: Module }>()
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'lethe-dwarf-'))
      writeFileSync(join(folder, 'points.c'), program)
      for (const [name, flags] of [
        ['O0', ['-O0', '-gdwarf-4']],
        ['O2', ['-O2', '-gdwarf-5']],
      ] as const) {
        // In two steps: a linking clang would run an optimiser that spoils the debug info.
        execFileSync('clang', ['--target=wasm32-wasi', ...flags, '-c', 'points.c', '-o', `${name}.o`], {
          cwd: folder,
        })
        execFileSync('clang', ['--target=wasm32-wasi', `${name}.o`, '-o', `${name}.wasm`], { cwd: folder })
        const path = join(folder, `${name}.wasm`)
        compiled.set(name, { path, module: decode(readFileSync(path)) })
      }
    })
    afterAll(() => removeFolder(folder))
    const of = (name: string): { path: string; module: Module } =>
      compiled.get(name) as { path: string; module: Module }

    for (const name of ['O0', 'O2'])
      test(`-${name}: every row is the one that llvm-dwarfdump shows`, () => {
        const { path, module } = of(name)
        const { lines } = new Source(module)
        const text = execFileSync('llvm-dwarfdump', ['--debug-line', path], { maxBuffer: 2 ** 28 }).toString()
        // Several rows at one address: the last one counts. Line 0 is code of no line.
        const rows = new Map<number, string>()
        for (const [row, address, line, column] of text.matchAll(/^0x([0-9a-f]+)\s+(\d+)\s+(\d+)\s.*$/gm))
          if (!row.includes('end_sequence'))
            rows.set(Number.parseInt(address as string, 16), `${line}:${column}`)
        let compared = 0
        for (const [address, wanted] of rows) {
          if (address === 0 || wanted.startsWith('0:')) continue
          const found = lines.at(address + module.codeOffset)
          expect(`${found?.line}:${found?.column}`, `address ${address}`).toBe(wanted)
          compared++
        }
        expect(compared).toBeGreaterThan(100)
      })

    test('-O0: variables have their frame, type, size and scope', () => {
      const { subprograms, globals } = new Source(of('O0').module).info
      const sum = subprograms.find(({ name }) => name === 'sum')
      expect(sum).toMatchObject({ file: 'points.c', line: 9, frameBase: { kind: 'local', pointer: false } })
      expect(sum?.variables.map(({ name, type, size, parameter }) => [name, type, size, parameter])).toEqual([
        ['p', 'struct point *', 4, true],
        ['n', 'int', 4, true],
        ['buffer', 'volatile char[32]', 32, false],
        ['total', 'int', 4, false],
        ['i', 'int', 4, false],
      ])
      for (const { name, scope, locations } of sum?.variables ?? []) {
        expect(locations, name).toMatchObject([{ kind: 'frame', range: undefined }])
        expect(scope.length, name).toBe(name === 'i' ? 1 : 0)
      }
      const own = globals.filter(({ file }) => file === 'points.c')
      expect(
        own.map(({ name, type, size, line }) => `${name}: ${type}, ${size} bytes, line ${line}`).toSorted(),
      ).toEqual(['calls: int, 4 bytes, line 10', 'table: int[10], 40 bytes, line 3'])
    })

    test('-O2: a store of an inlined function is shown with the call in its caller', () => {
      const { module } = of('O2')
      const source = new Source(module)
      const sum = module.functions.find(({ offset }) => source.at(offset).at(-1)?.function === 'sum')
      const stacks = new Set<string>()
      for (const i of instructions(sum ?? module.functions[0] ?? expect.fail('no function')))
        if (i.op === OP['i32.store'])
          stacks.add(
            source
              .at(i.place)
              .map(frame => `${frame.function}:${frame.line}`)
              .join(' < '),
          )
      expect([...stacks]).toContain('twice:6 < sum:16')
    })

    test('a rewritten module keeps names and drops the tables that no longer fit', () => {
      const { module } = of('O2')
      const rewriter = new Rewriter(module)
      rewriter.importFunction('lethe', 'first', { params: [], results: [] })
      const after = decode(encode(rewriter.finish()))
      expect(after.customs.filter(({ name }) => name.startsWith('.debug'))).toEqual([])
      const names = new Source(after).names.functions
      const sum = [...new Source(module).names.functions].find(([, name]) => name === 'sum')
      expect(names.get((sum?.[0] ?? -2) + 1)).toBe('sum')
    })
  },
)
