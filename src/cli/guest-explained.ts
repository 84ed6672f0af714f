// lethe run --explain prog.wasm: what the program's own code can make again is forgotten, and at the end that is told.
import type { Ending, RunOptions } from '../guest/instance.ts'
import type { Guest } from '../guest/load.ts'
import { explanationText } from '../replay/explain.ts'
import { runReplayed } from '../replay/session.ts'
import type { GuestFlags } from './guest.ts'
import { record } from './guest-told.ts'

export function explained(guest: Guest, options: RunOptions, flags: GuestFlags): Ending {
  const { ending, explanation } = runReplayed(guest, {
    ...options,
    ...(flags.budget === undefined ? {} : { budget: flags.budget }),
  })
  if (flags.json === undefined) process.stderr.write(explanationText(explanation))
  record(flags, explanation)
  return ending
}
