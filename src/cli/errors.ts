// How a command ends when it does not end well. The codes are the same everywhere: 1 failed, 2 usage, 3 not possible here.
import { MachineError } from '../machine/errors.ts'
import { PagerError } from '../pager/errors.ts'
import { ProcessError } from '../process/errors.ts'

export const exitCode = { done: 0, failed: 1, usage: 2, impossible: 3 } as const

/** An ending with a code of its own; `message` is one sentence: what, the offending value, what to do. */
export class CommandError extends Error {
  readonly exitCode: number
  constructor(code: number, message: string) {
    super(message)
    this.name = 'CommandError'
    this.exitCode = code
  }
}

/** The command line itself is wrong. */
export class UsageError extends CommandError {
  constructor(message: string) {
    super(exitCode.usage, message)
    this.name = 'UsageError'
  }
}

/** The exit code that an error stands for. */
export function codeOf(error: unknown): number {
  if (error instanceof CommandError) return error.exitCode
  if (error instanceof ProcessError)
    return error.code === 'refused' || error.code === 'traced' ? exitCode.impossible : exitCode.failed
  if (error instanceof PagerError) return exitCode.failed
  if (error instanceof MachineError)
    return error.code === 'memory' || error.code === 'process' ? exitCode.failed : exitCode.usage
  return exitCode.failed
}
