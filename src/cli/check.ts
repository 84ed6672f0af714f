// lethe check: runs a WebAssembly program and tells what it does wrong with its memory.
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { CheckFinding, CheckResult, LeakCheck, LeakKind } from '../check/index.ts'
import { collect, examples } from './arguments.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { checkWritable, writeResult } from './files.ts'
import { parseDir, parseEnv } from './guest-parts.ts'
import { parseSize } from './size.ts'

interface CheckFlags {
  readonly dir?: readonly string[]
  readonly env?: readonly string[]
  readonly invoke?: string
  readonly leakCheck: LeakCheck
  readonly errorsForLeakKinds?: ReadonlySet<LeakKind>
  readonly mallocFunctions?: string
  readonly quarantine?: number
  readonly useAfterScope?: boolean
  readonly suppressions?: readonly string[]
  readonly errorExitcode?: number
  readonly json?: string | true
  readonly sarif?: string
  readonly quiet?: boolean
}

/** As a shell tells of a program that was aborted. */
const trapped = 134

export function checkCommand(): Command {
  return new Command('check')
    .description('run a WebAssembly program (WASI) and report the errors that it makes with its memory')
    .argument('<program...>', 'prog.wasm, or app.mjs that hosts WebAssembly, and its arguments after --')
    .passThroughOptions()
    .option('--dir <host[::guest]>', 'a directory that the program may use (repeatable)', collect)
    .option('--env <name[=value]>', 'a variable of its environment (repeatable)', collect)
    .option('--invoke <export>', 'call this export instead of _start')
    .addOption(
      new Option('--leak-check <what>', 'blocks that were not given back')
        .choices(['no', 'summary', 'full', 'all'])
        .default('full'),
    )
    .option(
      '--errors-for-leak-kinds <kinds>',
      'which of them are errors: definite, indirect, possible, reachable, or none (default: definite,possible)',
      parseKinds,
    )
    .option(
      '--malloc-functions <list>',
      'functions that are malloc, free and so on: malloc=pool_take,free=pool_give, or indices',
    )
    .option('--quarantine <size>', 'freed blocks that are not used again at once (default: 16M)', parseSize)
    .option('--use-after-scope', 'also tell of pointers to variables whose block has ended (code of -O0)')
    .option('--suppressions <file>', 'findings that are only counted (repeatable)', collect)
    .option('--error-exitcode <code>', 'end with this code if there was any error', parseCode)
    .option('--json [file]', 'one document instead of text; without a file to standard error')
    .option('--sarif <file>', 'write the findings as SARIF 2.1.0')
    .option('-q, --quiet', 'only findings, no summary')
    .addHelpText(
      'after',
      `\nReports go to standard error, the program's own output where it sends it. Ends as the program ends.\n${examples(
        [
          ['lethe check prog.wasm -- in.txt', 'what clang --target=wasm32-wasi -g -O0 has made'],
          ['lethe check --error-exitcode 9 tests.wasm', 'in a test: 9 if anything was wrong'],
          ['lethe check --sarif out.sarif prog.wasm', 'for code review tools'],
          ['lethe check app.mjs -- a b', 'the WebAssembly modules of a JavaScript program'],
        ],
      )}`,
    )
    .action(run)
}

function parseCode(text: string): number {
  const code = Number(text)
  if (!Number.isInteger(code) || code < 0 || code > 255)
    throw new InvalidArgumentError('an exit code is a number from 0 to 255')
  return code
}

const leakKinds: readonly LeakKind[] = ['definite', 'indirect', 'possible', 'reachable']

function parseKinds(text: string): ReadonlySet<LeakKind> {
  const words = text === 'none' ? [] : text === 'all' ? leakKinds : text.split(',')
  const kinds = words.map(word => leakKinds.find(kind => kind === word))
  if (kinds.some(kind => kind === undefined))
    throw new InvalidArgumentError(`the kinds are ${leakKinds.join(', ')}, or all, or none`)
  return new Set(kinds as LeakKind[])
}

async function run([path = '', ...rest]: string[], flags: CheckFlags, command: Command): Promise<void> {
  const suppress = await suppressions(flags.suppressions ?? [])
  checkWritable('--json', flags.json === true ? undefined : flags.json)
  checkWritable('--sarif', flags.sarif)
  const { isJavaScript } = await import('./script-start.ts')
  if (isJavaScript(path)) return within(path, rest, flags, suppress, command)
  const { check, CheckError, exitNow, GuestError, isHere, load, parseMalloc } = await import('./check-run.ts')
  let result: CheckResult
  try {
    const guest = load(path)
    result = check(guest, {
      args: rest[0] === '--' ? rest.slice(1) : rest,
      dirs: (flags.dir ?? []).map(parseDir),
      env: Object.fromEntries((flags.env ?? []).map(parseEnv)),
      leaks: flags.leakCheck,
      suppress,
      keepCode: true,
      tell: await teller(flags),
      ...(flags.invoke === undefined ? {} : { invoke: flags.invoke }),
      ...(flags.errorsForLeakKinds === undefined ? {} : { leakErrors: flags.errorsForLeakKinds }),
      ...(flags.mallocFunctions === undefined
        ? {}
        : { mallocFunctions: parseMalloc(guest.module, flags.mallocFunctions) }),
      ...(flags.quarantine === undefined ? {} : { quarantine: flags.quarantine }),
      ...(flags.useAfterScope === undefined ? {} : { useAfterScope: flags.useAfterScope }),
    })
  } catch (error) {
    if (error instanceof CheckError) throw new CommandError(exitCode.impossible, `${path}: ${error.message}`)
    if (!(error instanceof GuestError)) throw error
    throw new CommandError(error.code === 'impossible' ? exitCode.impossible : exitCode.failed, error.message)
  }
  ;(await reporter(path, flags))(result)
  const code =
    flags.errorExitcode !== undefined && result.errors > 0
      ? flags.errorExitcode
      : (result.exitCode ?? trapped)
  process.exitCode = code
  // Node would wait until V8 has optimized what it is at, half a second where that is large; but whoever looks at Node itself is told at its end.
  const { stdout, stderr, execArgv, env } = process
  const watched = execArgv.length > 0 || env['NODE_OPTIONS'] || env['NODE_V8_COVERAGE']
  if (isHere && !watched && stdout.writableLength === 0 && stderr.writableLength === 0) exitNow(code)
}

// A JavaScript program, with checks in the WebAssembly modules that it makes.
async function within(
  path: string,
  rest: readonly string[],
  flags: CheckFlags,
  suppress: (finding: CheckFinding) => boolean,
  command: Command,
): Promise<void> {
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli'
  for (const [name, option] of [
    ['dir', '--dir'],
    ['env', '--env'],
    ['invoke', '--invoke'],
  ] as const)
    if (given(name))
      throw new UsageError(`${option} is for programs for WASI: ${path} runs in Node, with what Node has`)
  if (given('errorsForLeakKinds') || (given('leakCheck') && flags.leakCheck !== 'no'))
    throw new UsageError(
      `Leaks can't be told in ${path}: its JavaScript keeps pointers where they can't be seen; leave out --leak-check`,
    )
  const { heapRoom, HostedCheck, joined, openDoor, parseMalloc, whyUnchecked } = await import(
    './check-run.ts'
  )
  const { startScript } = await import('./script-start.ts')
  const tellFinding = await teller(flags)
  const report = await reporter(path, flags)
  const checks: InstanceType<typeof HostedCheck>[] = []
  openDoor(
    (guest, made) => {
      const { module } = guest
      if (module.memories.length === 0 && !module.imports.some(one => one.kind === 'memory')) return undefined
      const why = whyUnchecked(guest)
      if (why !== undefined) {
        tell(`${guest.path} is not checked: ${why}`)
        return undefined
      }
      const one = new HostedCheck(
        guest,
        {
          suppress,
          tell: tellFinding,
          ...(flags.mallocFunctions === undefined
            ? {}
            : { mallocFunctions: parseMalloc(module, flags.mallocFunctions) }),
          ...(flags.quarantine === undefined ? {} : { quarantine: flags.quarantine }),
          ...(flags.useAfterScope === undefined ? {} : { useAfterScope: flags.useAfterScope }),
        },
        made,
      )
      checks.push(one)
      return { passes: one.passes, imports: one.imports, ready: instance => one.ready(instance) }
    },
    heapRoom,
    why => tell(`not checked: ${why}`),
  )
  process.on('exit', code => {
    if (checks.length === 0) tell('no WebAssembly was checked: the program has instantiated none')
    const result = joined(
      checks.flatMap(one => one.result(code) ?? []),
      code,
    )
    report(result)
    if (flags.errorExitcode !== undefined && result.errors > 0) process.exitCode = flags.errorExitcode
  })
  startScript(path, rest)
}

// Tells of a finding when it is found.
async function teller(flags: CheckFlags): Promise<(finding: CheckFinding) => void> {
  const { findingText } = await import('./check-run.ts')
  return finding => {
    if (flags.json === undefined) tell(findingText(finding))
  }
}

// Tells of all of it at the end.
async function reporter(path: string, flags: CheckFlags): Promise<(result: CheckResult) => void> {
  const { jsonReport, sarifReport, summaryText } = await import('./check-run.ts')
  const version = flags.sarif === undefined ? '' : (await import('./frame.ts')).version()
  return result => {
    if (flags.json !== undefined) document(flags.json, jsonReport(path, result))
    else if (flags.quiet !== true) tell(summaryText(result))
    if (flags.sarif !== undefined)
      writeResult('--sarif', flags.sarif, `${JSON.stringify(sarifReport(path, result, version), null, 2)}\n`)
  }
}

function tell(text: string): void {
  process.stderr.write(`${text.replace(/^/gm, '== ')}\n`)
}

function document(to: string | true | undefined, value: object): void {
  const text = `${JSON.stringify(value, null, 2)}\n`
  if (typeof to === 'string') writeResult('--json', to, text)
  else process.stderr.write(text)
}

async function suppressions(files: readonly string[]): Promise<(finding: CheckFinding) => boolean> {
  const { parseSuppressions, SuppressionError } = await import('./check-run.ts')
  const all = files.map(file => {
    try {
      return parseSuppressions(readFileSync(file, 'utf8'))
    } catch (error) {
      if (error instanceof SuppressionError) throw new UsageError(`--suppressions ${file}: ${error.message}`)
      throw new UsageError(`--suppressions ${file} can't be read (${(error as NodeJS.ErrnoException).code})`)
    }
  })
  return finding => all.some(one => one(finding))
}
