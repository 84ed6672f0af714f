// lethe run prog.wasm: a WebAssembly program for WASI, in this process.
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { GuestError } from '../guest/errors.ts'
import { type Ending, prepare, run } from '../guest/instance.ts'
import { load, looksLikeWasm } from '../guest/load.ts'
import { frameText } from '../guest/traces.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { say } from './output.ts'

export interface GuestFlags {
  readonly dir?: readonly string[]
  readonly env?: readonly string[]
  readonly invoke?: string
  readonly budget?: number
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
    ending = run(guest, {
      args,
      dirs,
      env,
      ...(flags.invoke === undefined ? {} : { invoke: flags.invoke }),
    })
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

function parseDir(text: string): { host: string; guest: string } {
  const [host = '', guest = host] = text.split('::')
  if (!statSync(host, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`--dir ${text}: ${host} is not a directory`)
  return { host, guest }
}

function parseEnv(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  const value = process.env[text]
  if (value === undefined || at === 0)
    throw new UsageError(`--env ${text}: there is no such variable; give NAME=VALUE`)
  return [text, value]
}
