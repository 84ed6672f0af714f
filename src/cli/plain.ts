// lethe run with a WebAssembly program and no more options than directories and variables: what needs no parser, which takes as long to load as all
// that the program needs.
import { looksLikeWasm } from '../guest/load.ts'
import { fs } from '../guest/node.ts'

const { closeSync, openSync, readSync, statSync } = fs

export interface PlainRun {
  /** the program and its words */
  readonly command: readonly string[]
  readonly flags: { readonly dir: readonly string[]; readonly env: readonly string[] }
}

/** What the words behind `run` say, if they say no more than that. */
export function plainRun(words: readonly string[]): PlainRun | undefined {
  const dir: string[] = []
  const env: string[] = []
  let at = 0
  for (; words[at] === '--dir' || words[at] === '--env'; at += 2)
    (words[at] === '--dir' ? dir : env).push(words[at + 1] ?? '')
  const command = words.slice(at)
  return isGuest(command[0] ?? '') ? { command, flags: { dir, env } } : undefined
}

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
