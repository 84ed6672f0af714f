// lethe machine: the simulated machine, from one address to a trace of millions.
import { Command } from 'commander'
import { cacheCommand } from './machine-cache.ts'
import { policiesCommand } from './machine-policies.ts'
import { runTraceCommand } from './machine-run.ts'
import { translateCommand } from './machine-translate.ts'

export function machineCommand(): Command {
  const command = new Command('machine')
    .description('a simulated machine with virtual memory: translate addresses, run traces, compare')
    .usage('<command> [options]')
  for (const part of [translateCommand(), runTraceCommand(), cacheCommand(), policiesCommand()])
    command.addCommand(
      part
        .exitOverride()
        .helpOption('-h, --help', 'print help')
        .configureOutput({ outputError: () => {} })
        .configureHelp({ sortOptions: false }),
    )
  return command
}
