// The files that states read: made once, of fixed seeds, in a folder of their own.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { dataFile } from '../lib/data.ts'

/** Bytes of most files; numbers and the log are larger. */
const size = 50_000_000
/** In 10^6 bytes. */
const logSize = 76

export const inputsFolder: string = join(tmpdir(), 'lethe-study', 'inputs')

/** Makes them, if that has not been done. */
export function makeInputs(): void {
  const whole = join(inputsFolder, 'whole')
  if (existsSync(whole)) return
  mkdirSync(inputsFolder, { recursive: true })
  const script = join(import.meta.dirname, '../targets/files.py')
  execFileSync('/usr/bin/python3', [script, inputsFolder, String(size)], { stdio: 'inherit' })
  copyFileSync(dataFile('log', logSize), join(inputsFolder, 'log.txt'))
  execFileSync('/usr/bin/python3', [join(import.meta.dirname, 'larger.py'), inputsFolder], {
    stdio: 'inherit',
  })
  writeFileSync(
    join(inputsFolder, 'page.html'),
    page(readFileSync(join(inputsFolder, 'records.csv'), 'utf8')),
  )
  writeFileSync(join(inputsFolder, 'source.cc'), source())
  writeFileSync(whole, '')
}

// A page of a table, a list in a script, and text.
function page(csv: string): string {
  const rows = csv.split('\n').slice(0, 30_000)
  const cells = rows.map(
    row =>
      `<tr>${row
        .split(',')
        .map(cell => `<td>${cell}</td>`)
        .join('')}</tr>`,
  )
  const strings = JSON.stringify(rows.map(row => row.split(',')[1]))
  return `<!doctype html><title>study</title><table>${cells.join('\n')}</table><script>window.names = ${strings}</script>`
}

// C++ that keeps a compiler busy for a while.
function source(): string {
  const parts = Array.from(
    { length: 400 },
    (_, i) => `
struct T${i} { int a; std::string s; bool operator<(const T${i} &o) const { return a < o.a; } };
int f${i}(std::vector<T${i}> v) { std::sort(v.begin(), v.end()); std::map<std::string, T${i}> m;
  for (auto &t : v) m[t.s] = t; return static_cast<int>(m.size()) + v[${i % 7}].a; }`,
  )
  return `#include <algorithm>\n#include <map>\n#include <regex>\n#include <string>\n#include <vector>\n${parts.join('\n')}\n`
}
