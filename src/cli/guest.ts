// lethe run prog.wasm: a WebAssembly program for WASI, in this process.
import { closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { GuestError } from '../guest/errors.ts'
import { type Ending, prepare, run, type RunOptions } from '../guest/instance.ts'
import type { BudgetCounts } from '../guest/budget-pages.ts'
import { type Guest, load, looksLikeWasm } from '../guest/load.ts'
import { findMalloc, mallocOf } from '../guest/malloc-functions.ts'
import { frameText } from '../guest/traces.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { say } from './output.ts'
import { formatSize } from './size.ts'

export interface GuestFlags {
  readonly dir?: readonly string[]
  readonly env?: readonly string[]
  readonly invoke?: string
  readonly budget?: number
  readonly malloc?: string
  readonly mallocFunctions?: string
  readonly verbose?: boolean
  readonly json?: string | true
}

/** As a shell tells of a program that was aborted. */
const trapped = 134

/** Frames of a trap that are shown. */
const shown = 20

/** Whether the command is a WebAssembly file. */
export function isGuest(path: string): boolean {
  try {
    if (!statSync(path).isFile()) return false
    const fd = openSync(path, 'r')
    const start = Buffer.alloc(4)
    const got = readSync(fd, start)
    closeSync(fd)
    return looksLikeWasm(start.subarray(0, got))
  } catch {
    return false
  }
}

/** Runs it and sets the exit code: the guest's own, or 134 for a trap. */
export async function runGuest([path = '', ...rest]: readonly string[], flags: GuestFlags): Promise<void> {
  const args = rest[0] === '--' ? rest.slice(1) : rest
  const dirs = (flags.dir ?? []).map(parseDir)
  const env = Object.fromEntries((flags.env ?? []).map(parseEnv))
  let ending: Ending
  try {
    const guest = load(path)
    await prepare(guest)
    let options: RunOptions = {
      args,
      dirs,
      env,
      ...(flags.invoke === undefined ? {} : { invoke: flags.invoke }),
    }
    if (flags.malloc !== undefined) {
      const { allocatorPolicy, together, withAllocator } = await import('../guest/malloc.ts')
      const functions = mallocOf(path, guest.module, flags.mallocFunctions)
      options = together(options, withAllocator(guest.module, functions, allocatorPolicy(flags.malloc)))
    }
    ending = flags.budget === undefined ? run(guest, options) : await withBudget(guest, options, flags)
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    throw new CommandError(error.code === 'impossible' ? exitCode.impossible : exitCode.failed, error.message)
  }
  if (ending.trap === undefined) {
    process.exitCode = ending.exitCode
    return
  }
  const { message, frames } = ending.trap
  say(`the guest trapped: ${message}`)
  for (const frame of frames.slice(0, shown)) process.stderr.write(`    at ${frameText(frame)}\n`)
  if (frames.length > shown) process.stderr.write(`    … and ${frames.length - shown} more\n`)
  process.exitCode = trapped
}

async function withBudget(guest: Guest, options: RunOptions, flags: GuestFlags): Promise<Ending> {
  const { runWithin } = await import('../guest/run-within.ts')
  // With another allocator, or where there is no name, nothing is given back.
  const functions =
    flags.malloc !== undefined
      ? undefined
      : flags.mallocFunctions === undefined
        ? findMalloc(guest.module)
        : mallocOf(guest.path, guest.module, flags.mallocFunctions)
  const { ending, counts } = await runWithin(guest, options, flags.budget as number, functions)
  if (flags.verbose === true && counts !== undefined) say(budgetText(counts))
  record(flags, { type: 'budget', budget: flags.budget, ...counts })
  return ending
}

const size = (pages: number): string => formatSize(pages * 4096)

function budgetText(c: BudgetCounts): string {
  const dropped = c.droppedZero + c.droppedFile + c.droppedPacked + c.droppedClean
  return (
    `most resident ${size(c.peak)}; dropped ${size(dropped)} (${size(c.droppedFile)} to be had from files, ${size(c.droppedPacked)} packed, ` +
    `${size(c.droppedZero)} zeros, ${size(c.droppedClean)} unchanged), ${size(c.released)} given back by free; ` +
    `${c.faults} faults brought ${size(c.fromFile)} from files, ${size(c.unpacked)} unpacked, ${size(c.zeros)} zeros; ` +
    `kept on the side at the end: ${formatSize(c.packedBytes)} for ${size(c.packedPages)}`
  )
}

/** A line for --json: to the file, or to standard error. */
function record(flags: GuestFlags, line: object): void {
  if (flags.json === undefined) return
  if (flags.json === true) process.stderr.write(`${JSON.stringify(line)}\n`)
  else writeFileSync(flags.json, `${JSON.stringify(line)}\n`, { flag: 'a' })
}

export function parseDir(text: string): { host: string; guest: string } {
  const [host = '', guest = host] = text.split('::')
  if (!statSync(host, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`--dir ${text}: ${host} is not a directory`)
  return { host, guest }
}

export function parseEnv(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  const value = process.env[text]
  if (value === undefined || at === 0)
    throw new UsageError(`--env ${text}: there is no such variable; give NAME=VALUE`)
  return [text, value]
}
