/** The machine's kernel against a plain model: a slice of `npm run stress:machine`. */
import { expect, test } from 'vitest'
import { stress } from './stress.ts'

test('12 seeds of 1,200 random operations', { timeout: 120_000 }, () => {
  let evictions = 0
  for (let seed = 1; seed <= 12; seed++) evictions += stress(seed, 1200).evictions
  expect(evictions).toBeGreaterThan(500)
})
