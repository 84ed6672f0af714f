// lethe malloc --machine: what allocators do to a machine's pages, TLB and caches.
import { basename } from 'node:path'
import { allocatorNames, type Policy, policy, policyName } from '../heap/allocator.ts'
import { ReplayError } from '../heap/replay.ts'
import type { Trace } from '../heap/trace.ts'
import { machineConfig } from '../machine/configure.ts'
import { MachineError } from '../machine/errors.ts'
import { type Footprint, footprint } from '../machine/process-heap.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { paint, print, printJson } from './output.ts'

interface Row extends Footprint {
  readonly policy: string
}

/** Every access is simulated, so without `--policy` each allocator runs with one policy only, its first. */
export function mallocOnMachine(
  traces: readonly { readonly path: string; readonly trace: Trace }[],
  chosen: readonly Policy[] | undefined,
  preset: string,
  json = false,
): void {
  const config = { preset }
  try {
    machineConfig(config)
  } catch (error) {
    if (error instanceof MachineError) throw new UsageError(`--machine ${preset}: ${error.message}`)
    throw error
  }
  const policies = chosen ?? allocatorNames.map(allocator => policy({ allocator }))
  const sheets = traces.map(({ path, trace }) => ({
    path,
    operations: trace.length,
    policies: policies.map((one): Row => ({ policy: policyName(one), ...run(path, trace, one, config) })),
  }))
  if (json) return printJson({ type: 'malloc-machine', preset, traces: sheets }, 2)
  for (const { path, operations, policies: rows } of sheets) {
    print(paint('bold', `${basename(path)}: ${operations} operations in a process of ${preset}`))
    printRows(rows)
    print('')
  }
}

function run(path: string, trace: Trace, one: Policy, config: object): Footprint {
  try {
    return footprint(trace, one, config)
  } catch (error) {
    if (error instanceof ReplayError || error instanceof MachineError)
      throw new CommandError(exitCode.failed, `${path}: ${error.message}`)
    throw error
  }
}

function printRows(rows: readonly Row[]): void {
  const caches = Object.keys(rows[0]?.cacheMisses ?? {})
  const width = Math.max(...rows.map(row => row.policy.length), 6)
  const heads = [
    'accesses/op',
    'lines/op',
    'pages',
    'TLB misses/op',
    ...caches.map(name => `${name} misses/op`),
    'cycles/op',
  ]
  print(`  ${'policy'.padEnd(width)}  ${heads.join('  ')}`)
  for (const row of rows) {
    const per = (n: number): string => (n / row.operations).toFixed(2)
    const cells = [
      per(row.accesses),
      per(row.lines),
      String(row.pages),
      per(row.tlbMisses),
      ...caches.map(name => per(row.cacheMisses[name] ?? 0)),
      (row.cycles / row.operations).toFixed(0),
    ]
    print(
      `  ${row.policy.padEnd(width)}  ${cells.map((cell, i) => cell.padStart((heads[i] as string).length)).join('  ')}`,
    )
  }
  print(
    'accesses and lines are the allocator\u2019s own; the program writes every block whole, and reads it whole before it frees it',
  )
}
