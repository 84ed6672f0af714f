#!/usr/bin/env node
// lethe: only wires. Commands are in files of their own; every error ends here, as one sentence and an exit code.
import type { Command, CommanderError } from 'commander'
import { codeOf, exitCode } from './errors.ts'
import { endWithReader, say } from './output.ts'

try {
  endWithReader()
  // `run` and `check` are started for short programs too, and `machine` for short traces: they do not load what all the others are made of.
  const few: Readonly<Record<string, () => Promise<Command>>> = {
    run: async () => (await import('./run.ts')).runCommand(),
    check: async () => (await import('./check.ts')).checkCommand(),
    machine: async () => (await import('./machine.ts')).machineCommand(),
    'machine dinero': async () => {
      const [{ machineWith }, { dineroCommand }] = await Promise.all([
        import('./machine-frame.ts'),
        import('./machine-dinero.ts'),
      ])
      return machineWith([dineroCommand()])
    },
  }
  // `lethe help machine run` is `lethe machine run --help`.
  const given = process.argv.slice(2)
  const words = given[0] === 'help' && given.length > 1 ? [...given.slice(1), '--help'] : given
  const [name = '', part = ''] = words
  const one = few[`${name} ${part}`] ?? few[name]
  const lethe =
    one === undefined
      ? (await import('./program.ts')).program()
      : (await import('./frame.ts')).withCommands([await one()])
  await lethe.parseAsync(words, { from: 'user' })
} catch (error) {
  // Help and version come as errors too, with code 0; help for want of a command is a wrong use.
  if (isCommander(error)) process.exitCode = error.exitCode === 0 ? exitCode.done : exitCode.usage
  else {
    say((error as Error).message)
    if (process.env['NODE_DEBUG']?.includes('lethe')) console.error(error)
    process.exitCode = codeOf(error)
  }
}

// By its code: not all runs load the class.
function isCommander(error: unknown): error is CommanderError {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' && code.startsWith('commander.')
}
