// A command that runs in our place: we wait, and end after it.
import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'

const fromTerminal = ['SIGINT', 'SIGQUIT'] as const
const passedOn = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const

/**
 * Its exit code, 128 + n when signal n ended it; rejects when it can't be started. The terminal's signals reach it by themselves, and we live on to
 * tell what was seen of it; those that are sent to us are passed on.
 */
export async function foreground(child: ChildProcess): Promise<number> {
  const ignore = (): void => undefined
  const pass = (signal: NodeJS.Signals): boolean => child.kill(signal)
  for (const signal of fromTerminal) process.on(signal, ignore)
  for (const signal of passedOn) process.on(signal, pass)
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (status, signal) =>
        resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      )
    })
  } finally {
    for (const signal of fromTerminal) process.off(signal, ignore)
    for (const signal of passedOn) process.off(signal, pass)
  }
}
