// A JavaScript program in this process, as node would run it.
import { accessSync, constants, statSync } from 'node:fs'
import module from 'node:module'
import { resolve } from 'node:path'

/** Whether it is a JavaScript file. */
export function isJavaScript(path: string): boolean {
  return /\.[cm]?js$/.test(path) && statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** Whether the command is a JavaScript file that the kernel would not start. */
export function isScript(path: string): boolean {
  if (!isJavaScript(path)) return false
  try {
    accessSync(path, constants.X_OK)
    return false
  } catch {
    return true
  }
}

/** Runs it when the caller has returned, so that what it throws is Node's to tell. */
export function startScript(path: string, rest: readonly string[]): void {
  const script = resolve(path)
  process.argv.splice(1, process.argv.length, script, ...(rest[0] === '--' ? rest.slice(1) : rest))
  setImmediate(() => (module as unknown as { runMain(path: string): void }).runMain(script))
}
