// Dinero IV's own tests: how many of its golden results `lethe machine dinero` has too.
//
// LETHE_DINERO_TESTS: a directory `testing` of Dinero IV, with test-parms and the files *.good.*: version 7 has 86 goldens. The version of
// atos-tools on GitHub has 110: more caches, and random replacement anew with the random() of Linux.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TraceFormat, TraceReader } from '../src/machine/trace.ts'
import { Skip } from './lib/cc.ts'
import { atEnd } from './lib/cleanup.ts'
import { atLeast, type Table } from './lib/table.ts'
import type { Bench } from './main.ts'
import { removeFolder } from '../src/sys/folder.ts'

const tests = process.env['LETHE_DINERO_TESTS']
const lethe = join(import.meta.dirname, '../bin/lethe')

/** Every number of the results that is counted; what is only a quotient of two of them is left out. */
function counts(text: string): string[] {
  const wanted =
    /^\s*((?:PFB?|DB|Demand|Prefetch|Total|Compulsory|Capacity|Conflict|Multi-block|Bytes)\b[A-Za-z/ -]*?)\s+(\d[\d\s]*)$/
  return text.split('\n').flatMap(line => {
    const found = wanted.exec(line)
    return found === null ? [] : [`${found[1]} ${(found[2] as string).trim().split(/\s+/).join(' ')}`]
  })
}

/** A trace of pixie's in another format, as the tests convert it. */
function converted(path: string, format: 'din' | 'xdin' | 'dinb'): Uint8Array {
  const lines: string[] = []
  const records: number[] = []
  const reader = new TraceReader(path, 'pixie32', (words, count) => {
    for (let i = 0; i < count; i++) {
      const address = words[i * 2] as number
      const high = words[i * 2 + 1] as number
      const kind = high >>> 28
      const size = (high >>> 16) & 0xfff
      if (format === 'dinb') records.push(address, (kind << 16) | size)
      else if (format === 'din') lines.push(`${kind} ${address.toString(16)}`)
      else lines.push(`${'rwim'[kind]} ${address.toString(16)} ${size}`)
    }
  })
  reader.push(readFileSync(path), true)
  return format === 'dinb'
    ? new Uint8Array(Uint32Array.from(records).buffer)
    : new TextEncoder().encode(`${lines.join('\n')}\n`)
}

const formats: Readonly<Record<string, TraceFormat>> = { d: 'din', D: 'xdin', b: 'dinb' }

export const bench: Bench = {
  about: "Dinero IV's own tests, on our caches.",
  async run(): Promise<readonly Table[]> {
    if (tests === undefined) throw new Skip('LETHE_DINERO_TESTS names no directory of Dinero IV’s tests')
    const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
    atEnd(() => removeFolder(folder))
    const parameters = new Map(
      readFileSync(join(tests, 'test-parms'), 'latin1')
        .split('\n')
        .map(line => /^([^#\s]\S*)\s+(.*)$/.exec(line))
        .flatMap(found => (found === null ? [] : [[found[1] as string, found[2] as string] as const])),
    )
    const rows: [string, number, number][] = []
    const different: string[] = []
    const input = (file: string, letter: string): string => {
      const format = formats[letter]
      if (!file.endsWith('.32') || format === undefined) return join(tests, file)
      const path = join(folder, `${file}.${letter}`)
      if (!existsSync(path)) writeFileSync(path, converted(join(tests, file), format as 'din'))
      return path
    }
    for (const golden of readdirSync(tests).sort()) {
      const [, file, tag] = /^(.*)\.good\.(.*)$/.exec(golden) ?? []
      const options = parameters.get(tag ?? '')
      if (file === undefined || options === undefined) continue
      const letter = /-informat (\S)/.exec(options)?.[1] ?? 'D'
      const ours = execFileSync(lethe, ['machine', 'dinero', ...options.trim().split(/\s+/)], {
        input: readFileSync(input(file, letter)),
        encoding: 'utf8',
      })
      const same = counts(ours).join('\n') === counts(readFileSync(join(tests, golden), 'latin1')).join('\n')
      const what = /repl r/.test(options)
        ? 'random replacement'
        : /repl p/.test(options)
          ? 'PLRU'
          : /pfabort/.test(options)
            ? 'prefetches that are given up at random'
            : /fetch [^d]/.test(options)
              ? 'prefetching, sub-blocks'
              : 'LRU, FIFO'
      let row = rows.find(one => one[0] === what)
      if (row === undefined) rows.push((row = [what, 0, 0]))
      row[1]++
      if (same) row[2]++
      else different.push(golden)
    }
    const sum = (at: 1 | 2): number => rows.reduce((a, row) => a + row[at], 0)
    return [
      {
        title: `Goldens of ${tests}`,
        head: ['what is in them', 'goldens', 'every count the same'],
        rows: [...rows, ['all', sum(1), sum(2)]],
        notes: different.length === 0 ? [] : [`Different: ${different.join(', ')}.`],
        goals: [atLeast('goldens that agree', 100, sum(2), `of ${sum(1)}`)],
      },
    ]
  },
}
