// The start of `lethe run prog.wasm`: bin/lethe comes here when the command is a WebAssembly file. With no more options than directories and variables the
// program is run from here, by code that the build puts into one file with this one (scripts/build.mjs): to find and read twenty takes as long as
// Node itself takes to start. All else goes on in main.ts.
import { load } from '../guest/load.ts'
import { run } from '../guest/instance.ts'
import { CommandError, exitCode } from './errors.ts'
import { commandError, endAs, parseDir, parseEnv } from './guest-parts.ts'
import { say } from './output.ts'
import { plainRun } from './plain.ts'

const plain = plainRun(process.argv.slice(3))
if (plain === undefined) await import('./main.ts')
else {
  const { command, flags } = plain
  const [path = '', ...rest] = command
  try {
    const dirs = flags.dir.map(parseDir)
    const env = Object.fromEntries(flags.env.map(parseEnv))
    endAs(run(load(path), { args: rest[0] === '--' ? rest.slice(1) : rest, dirs, env }))
  } catch (thrown) {
    const error = commandError(thrown)
    say((error as Error).message)
    if (process.env['NODE_DEBUG']?.includes('lethe')) console.error(error)
    process.exitCode = error instanceof CommandError ? error.exitCode : exitCode.failed
  }
}
