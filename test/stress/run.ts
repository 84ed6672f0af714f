/**
 * The stress: seeded rounds of targets that do what programs do with their memory, while pagers attach, drop, are
 * killed, taken over and detached. Everything that a target says is compared with what it must say.
 *
 * A *round* is a few operations of one target, with or without a pager, and a check of all its bytes. Each lane has one
 * target after the other, and a pager that is killed at random moments: host.ts for C, the real one for Python and Node.
 */
import { interpreter } from './interpreters.ts'
import { Lane } from './lane.ts'
import { Stress, type StressOptions, type StressResult } from './shared.ts'

/** Runs the stress; never throws for a mismatch. */
export async function stress(options: StressOptions): Promise<StressResult> {
  const s = new Stress(options)
  try {
    s.lab.program('target')
    const all: Promise<void>[] = []
    for (let i = 0; i < (options.lanes ?? 6); i++) all.push(new Lane(s, i).run())
    if (options.interpreters !== false) {
      all.push(interpreter(s, 'python', options.seed * 31 + 1))
      all.push(interpreter(s, 'node', options.seed * 31 + 2))
    }
    await Promise.all(all)
    return s.result
  } finally {
    s.lab.close()
  }
}
