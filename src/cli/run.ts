// lethe run: becomes its command. Nothing of ours stays between the terminal and the program: bin/lethe is the process
// that will exec it, so signals, job control, standard streams, resource limits and the wait status are
// the program's own. Here, before that, a pager is started for this very process id; it waits until there is enough memory.
//
// bin/lethe (sh, $LETHE_RUN_PID) → node: this file → `words` on descriptor 3 → bin/lethe: exec COMMAND
//
// A WebAssembly program runs here, in node, and so does a JavaScript file that can't be executed: bin/lethe, which sees what it is, has
// exec'd us then.
import { accessSync, constants, statSync, writeSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { collect, examples, options, type PagerFlags, pagerOptions } from './arguments.ts'
import { CommandError, UsageError } from './errors.ts'
import { beginFile, checkWritable } from './files.ts'
import type { GuestFlags } from './guest.ts'
import { say } from './output.ts'
import { isGuest } from './plain.ts'
import { checkSitesFlags, recordingError, showSites, type SitesFlags, sitesOptions } from './sites.ts'

interface RunFlags extends Omit<PagerFlags, 'json'>, GuestFlags, SitesFlags {
  readonly json?: string | true
  readonly verbose?: boolean
}

/** Anonymous memory below which there is nothing to gain. */
const worthwhile = 16 << 20

export function runCommand(): Command {
  return new Command('run')
    .description(
      'run a command, or a WebAssembly program, and serve its memory from the start; ends as it ends',
    )
    .argument(
      '<command...>',
      'the command and its arguments, after --; or prog.wasm, or script.mjs, -- its arguments',
    )
    .passThroughOptions()
    .addOption(options.backing())
    .addOption(options.budget())
    .addOption(options.pressure())
    .addOption(options.pack())
    .addOption(options.deep())
    .addOption(options.cpu())
    .addOption(
      new Option('--json [file]', 'write what lethe does as NDJSON to the file, or to standard error'),
    )
    .option('-v, --verbose', 'say on standard error what lethe does')
    .addOption(sitesOptions.sites())
    .addOption(sitesOptions.folded())
    .addOption(sitesOptions.pprof())
    .addOption(options.state())
    .optionsGroup('Of WebAssembly programs (WASI preview 1, or in a JavaScript file):')
    .option('--dir <host[::guest]>', 'a directory that the program may use (repeatable)', collect)
    .option('--env <name[=value]>', 'a variable of its environment (repeatable)', collect)
    .option(
      '--malloc <name>',
      "an allocator in the place of the program's own: best, tree, 'explicit first', …; or observe: which places take memory",
    )
    .option(
      '--malloc-functions <list>',
      'where its malloc and free are, if it has no names: malloc=12,free=13',
    )
    .option('--gc', 'free does nothing: what nothing points to is found and freed from outside')
    .addOption(
      new Option('--mmu <which>', "whose page tables: the kernel's, or the simulated machine's").choices([
        'kernel',
        'machine',
      ]),
    )
    .option('--preset <name>', 'the machine (see lethe machine run; default: x86-64)')
    .option('--config <file>', 'the machine, as JSON')
    .option('--set <parameter=value>', 'a parameter of the machine (repeatable)', collect)
    .option('--invoke <export>', 'call this export instead of _start')
    .option(
      '--explain',
      'forget what its own code can make again, and tell at the end what that was (with --json: as a document)',
    )
    .addHelpText(
      'after',
      `\nThe command gets lethe's own process: its id, terminal, signals and exit code (128+n in a shell when signal n ends it).
With --sites it is recorded instead of served, and looked at before memory goes; at its end standard error (or the file of --json) says who owned what.\n${examples(
        [
          ['lethe run -- python3 serve.py', 'as python3 serve.py, with less memory'],
          ['lethe run --budget 256M -- node app.js', 'keep at most 256 MiB of copies resident'],
          ['lethe run --json log.ndjson -- ./job', 'with a record of what was done'],
          ['lethe run --sites -- python3 job.py', 'which lines own memory that files explain'],
          ['lethe run --dir . prog.wasm -- in.txt', 'a WebAssembly program that may use this directory'],
          ['lethe run --budget 64M app.mjs', 'a JavaScript program, its WebAssembly memory within 64 MiB'],
          [
            'lethe run --explain --dir . prog.wasm -- in.txt',
            'the same, its memory rebuilt by replaying its own code',
          ],
        ],
      )}`,
    )
    .action(run)
}

async function run(command: string[], flags: RunFlags): Promise<void> {
  if (isGuest(command[0] ?? '')) return (await import('./guest.ts')).runGuest(command, flags)
  const { isScript } = await import('./script-start.ts')
  if (isScript(command[0] ?? '')) return (await import('./script.ts')).runScript(command, flags)
  const own = Number(process.env['LETHE_RUN_PID'])
  const argv = process.argv.slice(2)
  if (!Number.isSafeInteger(own) || own <= 0) {
    // Not started through bin/lethe: become it.
    const launcher = fileURLToPath(new URL('../../bin/lethe', import.meta.url))
    process.removeAllListeners('warning')
    process.execve?.(launcher, ['lethe', ...argv], { ...process.env, LETHE_RUN_COMMAND: '1' })
    throw new CommandError(1, `${launcher} can't be started; run it instead of this file`)
  }
  checkSitesFlags(flags)
  findCommand(command[0] ?? '')
  if (flags.sites) {
    for (const name of ['budget', 'pressure', 'pack'] as const)
      if (flags[name] !== undefined)
        throw new UsageError(
          `--${name} is of serving, and with --sites the command is only recorded; leave one away`,
        )
    if (typeof flags.json === 'string') checkWritable('--json', flags.json)
    return await runSites(command, flags)
  }
  const record = flags.json === undefined ? undefined : flags.json === true ? '' : resolve(flags.json)
  if (record !== undefined && record !== '') beginFile('--json', record)
  try {
    const { whyNot } = await import('./doctor.ts')
    const obstacle = await whyNot(flags.state)
    if (obstacle !== undefined) say(`${obstacle}. The command runs without lethe`)
    else {
      const { startPager } = await import('../pager/start.ts')
      await startPager(own, {
        ...pagerOptions({ ...flags, json: false }),
        waitFor: worthwhile,
        ...(record !== undefined || flags.verbose
          ? { report: { json: record !== undefined, path: record ?? '' } }
          : {}),
        verbose: flags.verbose === true || record === '',
      })
    }
  } catch (error) {
    say(`${(error as Error).message}. The command runs without lethe`)
  }
  writeSync(3, `${argv.length - command.length}\n`)
}

// Here the command is a child: somebody must be there to look at it, and to say at its end what was seen.
async function runSites(command: string[], flags: RunFlags): Promise<void> {
  const { recordSites } = await import('../sites/recorder.ts')
  const { keepFromChildren } = await import('../sys/fd.ts')
  keepFromChildren()
  try {
    const { code, reports } = await recordSites(command, {
      backings: flags.backing ?? [],
      ...(flags.deep ? { level: 'deep' } : {}),
    })
    await showSites(reports, {
      ...flags,
      json: flags.json === true ? '' : flags.json,
      stream: 2,
    })
    process.exitCode = code
  } catch (error) {
    throw recordingError(error, command[0] ?? '')
  }
}

// As a shell would: 127 when it is not there, 126 when it can't be run.
function findCommand(name: string): void {
  const paths = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin')
        .split(delimiter)
        .map(folder => join(folder, name))
  let there = false
  for (const path of paths) {
    try {
      if (!statSync(path).isFile()) continue
      there = true
      accessSync(path, constants.X_OK)
      return
    } catch {
      // the next one
    }
  }
  const file = statSync(name, { throwIfNoEntry: false })
  if (name.endsWith('.wasm') && file?.isFile())
    throw new CommandError(126, `${name} is not a WebAssembly module: it does not start with \\0asm`)
  if (there) throw new CommandError(126, `${name} can't be executed`)
  if (name.includes('/') && file?.isDirectory())
    throw new CommandError(126, `${name} is a directory, not a command`)
  // Programs that would run in here are files, and not looked for in PATH.
  const what = /\.(wasm|[cm]?js)$/.test(name)
    ? `file '${name}'; check its name`
    : `command '${name}'; check its name and PATH`
  throw new CommandError(127, `There is no ${what}`)
}
