// A program whose options are no more than directories and variables, from its words to its exit code.
import type { Ending, RunOptions } from '../guest/instance.ts'
import { CommandError, exitCode } from './errors.ts'
import { commandError, endAs, parseDir, parseEnv } from './guest-parts.ts'
import { say } from './output.ts'
import type { PlainRun } from './plain.ts'

export function runPlain(
  { command, flags }: PlainRun,
  run: (path: string, options: RunOptions) => Ending,
): void {
  const [path = '', ...rest] = command
  try {
    const dirs = flags.dir.map(parseDir)
    const env = Object.fromEntries(flags.env.map(parseEnv))
    endAs(run(path, { args: rest[0] === '--' ? rest.slice(1) : rest, dirs, env }))
  } catch (thrown) {
    const error = commandError(thrown)
    say((error as Error).message)
    if (process.env['NODE_DEBUG']?.includes('lethe')) console.error(error)
    process.exitCode = error instanceof CommandError ? error.exitCode : exitCode.failed
  }
}
