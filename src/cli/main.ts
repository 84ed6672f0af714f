#!/usr/bin/env node
// lethe: only wires. Commands are in files of their own; every error ends here, as one sentence and an exit code.
import type { CommanderError } from 'commander'
import { codeOf } from './errors.ts'
import { endWithReader, say } from './output.ts'

try {
  endWithReader()
  // `run` is started for short programs too: it does not load what all the others are made of.
  const lethe =
    process.argv[2] === 'run'
      ? (await import('./frame.ts')).withCommands([(await import('./run.ts')).runCommand()])
      : (await import('./program.ts')).program()
  await lethe.parseAsync()
} catch (error) {
  if (isCommander(error)) {
    // Help and version come as errors too, with code 0; help for want of a command is a wrong use.
    if (error.exitCode !== 0) {
      if (!error.code.startsWith('commander.help'))
        say(`${error.message.replace(/^error: /, '').replaceAll('\n', ' ')}; see lethe --help`)
      process.exitCode = 2
    }
  } else {
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
