// lethe run with a WebAssembly program and no more options than directories and variables, and --explain with --json FILE: what needs no parser, which takes as long to load as all
// that the program needs.
import { looksLikeWasm } from '../guest/load.ts'
import { fs } from '../guest/node.ts'

const { closeSync, openSync, readSync, statSync } = fs

export interface PlainRun {
  /** the program and its words */
  readonly command: readonly string[]
  readonly flags: {
    readonly dir: readonly string[]
    readonly env: readonly string[]
    readonly explain: boolean
    /** Only with `explain`. */
    readonly json?: string
  }
}

/** What the words behind `run` say, if they say no more than that. */
export function plainRun(words: readonly string[]): PlainRun | undefined {
  const dir: string[] = []
  const env: string[] = []
  let explain = false
  let json: string | undefined
  let at = 0
  for (; ; at += 2) {
    const [option, value = ''] = words.slice(at)
    if (option === '--dir') dir.push(value)
    else if (option === '--env') env.push(value)
    else if (option === '--json' && value !== '' && !value.startsWith('-') && !isGuest(value)) json = value
    else if (option === '--explain') {
      explain = true
      at--
    } else break
  }
  const command = words.slice(at)
  if (!isGuest(command[0] ?? '') || (json !== undefined && !explain)) return undefined
  return { command, flags: { dir, env, explain, ...(json === undefined ? {} : { json }) } }
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
