// What all commands stand in: the name, the version, how errors and help are told.
import { readFileSync } from 'node:fs'
import { Command, type CommanderError } from 'commander'
import { UsageError } from './errors.ts'

/** The version in package.json. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** A command whose parsing throws instead of exiting: a UsageError, or a CommanderError where help or the version has been printed. */
export function throwing(command: Command): Command {
  return command
    .exitOverride(error => {
      throw wrongUse(command, error)
    })
    .helpOption('-h, --help', 'print help')
    .configureOutput({ outputError: () => {} })
    .configureHelp({ sortOptions: false })
}

// Commander's sentences, with the command whose help tells more.
function wrongUse(command: Command, error: CommanderError): Error {
  if (error.exitCode === 0 || error.code.startsWith('commander.help')) return error
  let name = command.name()
  for (let { parent } = command; parent !== null; { parent } = parent) name = `${parent.name()} ${name}`
  return new UsageError(`${error.message.replace(/^error: /, '').replace(/\.$/, '')}; see ${name} --help`)
}

/** lethe with these commands; see `throwing`. */
export function withCommands(commands: readonly Command[]): Command {
  const lethe = new Command('lethe')
    .description('Gives back the memory that running programs spend on copies of files.')
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'print help for a command')
    .enablePositionalOptions()
  for (const command of commands) lethe.addCommand(command)
  for (const command of lethe.commands) throwing(command)
  return throwing(lethe)
}
