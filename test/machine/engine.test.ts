/** The fast machine for traces counts what the machine that records every access counts. */
import { expect, test } from 'vitest'
import { machineConfig } from '../../src/machine/configure.ts'
import { TraceEngine } from '../../src/machine/engine.ts'
import type { Counters } from '../../src/machine/counters.ts'
import { MachineError } from '../../src/machine/errors.ts'
import { Machine } from '../../src/machine/machine.ts'
import { randomMachine, randomTrace } from './random.ts'

/** What a run came to: its counters, or the sentence of its error. */
function outcome(run: () => Counters): object {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof MachineError)) throw error
    return { code: error.code }
  }
}

test('on 100 random machines, each with a random trace of three processes', { timeout: 60_000 }, () => {
  let finished = 0
  for (let seed = 1; seed <= 100; seed++) {
    const given = randomMachine(seed)
    const config = machineConfig(given)
    const trace = randomTrace(seed, 1000, config.virtualBits)
    const fast = outcome(() => {
      const engine = new TraceEngine(config)
      // Records as a file has them, or decoded ones: the same.
      if (seed % 2 === 0) engine.run(trace.words, trace.count)
      else {
        const bytes = new Uint8Array(trace.words.buffer)
        const done = engine.runBytes(bytes, false)
        engine.run(trace.words.subarray(done / 4), trace.count - done / 8)
      }
      return engine.counters
    })
    const recorded = outcome(() => {
      const machine = new Machine(given)
      // A process is made when the trace first names it, and its root table with it.
      const pids = new Map([[1, machine.open('1').pid]])
      for (const { process, ...reference } of trace.references) {
        const pid = pids.get(process) ?? machine.open(String(process)).pid
        pids.set(process, pid)
        machine.access(pid, reference)
        machine.waitFor(pid)
      }
      return machine.counters
    })
    expect({ seed, given, ...fast }).toEqual({ seed, given, ...recorded })
    if ('accesses' in recorded) finished++
  }
  // The others have page tables that do not fit into their memory.
  expect(finished).toBeGreaterThan(75)
})
