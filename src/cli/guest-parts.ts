// What all ways of running a WebAssembly program share: its directories and variables, and how it ends.
import { GuestError } from '../guest/errors.ts'
import type { Ending } from '../guest/instance.ts'
import { fs } from '../guest/node.ts'
import { frameText } from '../guest/traces.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { say } from './output.ts'

const { statSync } = fs

/** As a shell tells of a program that was aborted. */
const trapped = 134

/** Frames of a trap that are shown. */
const shown = 20

/** What `run` threw, as a command ends. */
export function commandError(error: unknown): unknown {
  if (!(error instanceof GuestError)) return error
  return new CommandError(error.code === 'impossible' ? exitCode.impossible : exitCode.failed, error.message)
}

/** Sets the exit code: the guest's own, or that of a trap, which is told of. */
export function endAs(ending: Ending): void {
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
