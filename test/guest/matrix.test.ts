// Our own guests under every way of running them. `npm run bench -- guests` does it with large programs.
import { tmpdir } from 'node:os'
import { describe, expect, test, vi } from 'vitest'
import { cannotAttach } from '../cli-helpers.ts'
import { guest, whyNoGuests } from './guests.ts'
import { reference, type Task, through, waysOf } from './matrix.ts'

vi.setConfig({ testTimeout: 60_000 })

const programs: Readonly<Record<string, { readonly args: readonly string[]; readonly stdin?: string }>> = {
  heap: { args: ['4000'] },
  small: { args: ['8000', '50'], stdin: 'x' },
}

describe.skipIf(whyNoGuests !== undefined)(
  `a guest prints the same (${whyNoGuests ?? 'compiled here'})`,
  () => {
    const budget = '256K'
    for (const [name, program] of Object.entries(programs)) {
      const task = (): Task => ({ ...program, wasm: guest(name), folder: tmpdir(), budget, patience: 50 })
      let expected: { readonly stdout: string; readonly status: number | null } | undefined
      for (const [way, words] of Object.entries(
        waysOf({ ...program, wasm: '', folder: '', budget, patience: 0 }),
      ))
        test.skipIf(words.includes('--budget') && cannotAttach() !== undefined)(`${name}: ${way}`, () => {
          expected ??= reference(task())
          expect(expected.status).toBe(0)
          const { stdout, status } = through(words, task())
          expect(stdout).toBe(expected.stdout)
          expect(status).toBe(0)
        })
    }
    // aligned_alloc takes more from malloc than it hands on, and gives the rest back unseen.
    test.skipIf(cannotAttach() !== undefined)('heap: many aligned blocks, budget 2M', () => {
      const task: Task = {
        args: ['60000'],
        wasm: guest('heap'),
        folder: tmpdir(),
        budget: '2M',
        patience: 50,
      }
      expect(through(['run', '--budget', '2M'], task)).toMatchObject({
        stdout: reference(task).stdout,
        status: 0,
      })
    })
  },
)
