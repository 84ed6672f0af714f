// The whole command line, as definitions: help, completion and the man page are made from it.
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { attachCommand } from './attach.ts'
import { auditCommand } from './audit.ts'
import { checkCommand } from './check.ts'
import { completionCommand } from './completion.ts'
import { demoCommand } from './demo.ts'
import { detachCommand } from './detach.ts'
import { doctorCommand } from './doctor.ts'
import { labCommand } from './lab.ts'
import { machineCommand } from './machine.ts'
import { mallocCommand } from './malloc.ts'
import { manCommand } from './man.ts'
import { runCommand } from './run.ts'
import { statusCommand } from './status.ts'

/** The version in package.json. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** All commands. Parsing throws CommanderError instead of exiting. */
export function program(): Command {
  const lethe = new Command('lethe')
    .description('Gives back the memory that running programs spend on copies of files.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .enablePositionalOptions()
  const commands = [
    auditCommand(),
    attachCommand(),
    detachCommand(),
    statusCommand(),
    runCommand(),
    checkCommand(),
    doctorCommand(),
    demoCommand(),
    mallocCommand(),
    machineCommand(),
    labCommand(),
    completionCommand(program),
    manCommand(program),
  ]
  for (const command of commands) lethe.addCommand(command)
  for (const command of [lethe, ...lethe.commands])
    command
      .exitOverride()
      .helpOption('-h, --help', 'print help')
      .configureOutput({ outputError: () => {} })
      .configureHelp({ sortOptions: false })
  return lethe
}
