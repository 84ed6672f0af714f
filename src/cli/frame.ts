// What all commands stand in: the name, the version, how errors and help are told.
import { readFileSync } from 'node:fs'
import { Command } from 'commander'

/** The version in package.json. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** lethe with these commands. Parsing throws CommanderError instead of exiting. */
export function withCommands(commands: readonly Command[]): Command {
  const lethe = new Command('lethe')
    .description('Gives back the memory that running programs spend on copies of files.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .enablePositionalOptions()
  for (const command of commands) lethe.addCommand(command)
  for (const command of [lethe, ...lethe.commands])
    command
      .exitOverride()
      .helpOption('-h, --help', 'print help')
      .configureOutput({ outputError: () => {} })
      .configureHelp({ sortOptions: false })
  return lethe
}
