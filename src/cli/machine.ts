// lethe machine: the simulated machine, from one address to a trace of millions.
import { Command } from 'commander'
import { cacheCommand } from './machine-cache.ts'
import { dineroCommand } from './machine-dinero.ts'
import { policiesCommand } from './machine-policies.ts'
import { programCommand } from './machine-program.ts'
import { runTraceCommand } from './machine-run.ts'
import { translateCommand } from './machine-translate.ts'

export function machineCommand(): Command {
  const command = new Command('machine')
    .description('a simulated machine with virtual memory: translate addresses, run traces, compare')
    .usage('<command> [options]')
    .enablePositionalOptions()
  for (const part of [
    translateCommand(),
    runTraceCommand(),
    policiesCommand(),
    programCommand(),
    cacheCommand(),
    dineroCommand(),
  ])
    command.addCommand(
      part
        .exitOverride()
        .helpOption('-h, --help', 'print help')
        .configureOutput({ outputError: () => {} })
        .configureHelp({ sortOptions: false }),
    )
  return command
}
