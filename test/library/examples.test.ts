/** The programs in examples/library run as they stand there, against the built package, and print what they promise. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { whyNoMmu } from './helpers.ts'

const why = await whyNoMmu()
const root = join(import.meta.dirname, '../..')

describe.skipIf(why !== undefined)(`examples ${why ?? ''}`, { timeout: 60_000 }, () => {
  it.each([
    ['vector-search', /of 200000 vectors, number \d+ is nearest[^]*in memory: true/],
    ['time-series', /day 0: 1440 rows, mean -?0\.\d+\nday 1: 1440 rows/],
    ['log-search', /'refused' is there 7 times in \d+ bytes/],
    ['edit-column', /^id,price,note\n1,9\.?0*,"a, b"\n2,225\.45,\n3,6\.48,last\n$/],
  ])('%s', (name, expected) => {
    // 'lethe' is this package by its own name.
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, `examples/library/${name}.ts`)], {
      encoding: 'utf8',
      cwd: root,
    })
    expect(stderr.replace(/.*ExperimentalWarning.*\n.*trace-warnings.*\n/, '')).toBe('')
    expect(stdout).toMatch(expected)
  })
})
