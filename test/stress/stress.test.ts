import { expect, test } from 'vitest'
import { cannotRun } from '../safety/lab.ts'
import { stress } from './run.ts'

const reason = cannotRun()
const seed = Number(process.env['STRESS_SEED'] ?? 1)

test.skipIf(reason !== undefined)(
  `twenty seconds of stress, seed ${seed}: nothing differs${reason ? ` (${reason})` : ''}`,
  { timeout: 120_000 },
  async () => {
    const result = await stress({ rounds: 1e6, seed, seconds: 20 })
    expect(
      result.mismatches.map(m => `${m.lane} round ${m.round}: ${m.what}\n${m.history.join('\n')}`),
    ).toEqual([])
    expect(result.rounds).toBeGreaterThan(0)
    expect(result.kills).toBeGreaterThan(0)
    expect(result.droppedPages).toBeGreaterThan(0)
  },
)
