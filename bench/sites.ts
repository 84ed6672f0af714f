// What it costs to be recorded for sites, beside heaptrack: the same programs, in turns.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRecording } from '../src/sites/recorder.ts'
import type { Bench } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { median, rotated } from './lib/stats.ts'
import { atMost, type Goal } from './lib/table.ts'
import { removeFolder } from '../src/sys/folder.ts'

const ways = ['nothing', 'lethe', 'heaptrack'] as const
type Way = (typeof ways)[number]

export const bench: Bench = {
  about:
    'CPU seconds that a program takes by itself, with the recorder of `lethe run --sites` in it, and under heaptrack (its own helpers, which run beside it, not counted).',
  async run({ rounds }) {
    if (which('heaptrack') === undefined) throw new Skip('heaptrack is not installed')
    const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-sites-'))
    const churn = join(folder, 'churn')
    execFileSync('cc', ['-O2', '-o', churn, join(import.meta.dirname, 'targets/churn.c')])
    const python = (code: string): string[] => [
      '/usr/bin/python3',
      '-c',
      `import time\n${code}\nprint('%.6f' % time.process_time())`,
    ]
    const programs: readonly (readonly [string, readonly string[]])[] = [
      ['C, blocks of 16 to 256 bytes, 3 million', [churn, '16', '256', '3000000']],
      ['C, 256 bytes to 4 KiB, 2 million', [churn, '256', '4096', '2000000']],
      ['C, 1 to 8 KiB, 1 million', [churn, '1024', '8192', '1000000']],
      ['Python, 5 million short strings', python('x = [str(i) for i in range(5000000)]')],
      ['Python, 500,000 bytes objects of 2 kB', python('x = [bytes(2000) for i in range(500000)]')],
    ]
    const recording = openRecording(false)
    const run = (way: Way, words: readonly string[]): number => {
      const under = way === 'heaptrack' ? ['heaptrack', '-r', '-o', join(folder, 'heap'), ...words] : words
      const [command = '', ...rest] = under
      const env = way === 'lethe' ? recording.environment : process.env
      const done = spawnSync(command, rest, { encoding: 'utf8', env, timeout: 120_000 })
      const seconds = /^\d+\.\d{6}$/m.exec(done.stdout)?.[0]
      if (seconds === undefined) throw new Error(`${under.join(' ')}: ${done.stderr}`)
      return Number(seconds)
    }
    try {
      const rows = []
      const goals: Goal[] = []
      for (const [name, words] of programs) {
        const seconds = new Map<Way, number[]>(ways.map(way => [way, []]))
        for (let round = 0; round < rounds; round++)
          for (const way of rotated(ways, round)) seconds.get(way)?.push(run(way, words))
        const [plain = 0, lethe = 0, heaptrack = 0] = ways.map(way => median(seconds.get(way) ?? []))
        rows.push([name, plain, lethe, heaptrack, lethe / plain, heaptrack / plain])
        goals.push(atMost(`${name}: beside heaptrack`, 1, lethe / heaptrack, 'times'))
      }
      const head = ['program', 'alone s', 'recorded s', 'heaptrack s', 'recorded, times', 'heaptrack, times']
      return [{ title: 'Recording', head, rows, goals }]
    } finally {
      recording.close()
      removeFolder(folder)
    }
  },
}
