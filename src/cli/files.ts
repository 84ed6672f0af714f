// Files that commands write: one that can't be written is told before the work, not after it.
import { dirname, resolve } from 'node:path'
import { fs } from '../guest/node.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'

const { accessSync, constants, statSync, writeFileSync } = fs

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** Changes nothing. Throws UsageError where `path`, which `option` names, can't be written. */
export function checkWritable(option: string, path: string | undefined): void {
  if (path === undefined) return
  try {
    const there = statSync(path, { throwIfNoEntry: false })
    if (there?.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    accessSync(there === undefined ? dirname(resolve(path)) : path, constants.W_OK)
  } catch (error) {
    throw new UsageError(`${option} ${path} can't be written (${codeOf(error)})`)
  }
}

/** Throws CommandError. */
export function writeResult(option: string, path: string, content: string | Uint8Array): void {
  try {
    writeFileSync(path, content)
  } catch (error) {
    throw new CommandError(exitCode.failed, `${option} ${path} can't be written (${codeOf(error)})`)
  }
}

/** Begins a file to which lines are added while the command works. Throws CommandError. */
export function beginFile(option: string, path: string): void {
  checkWritable(option, path)
  writeResult(option, path, '')
}
