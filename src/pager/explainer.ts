// The explainer runs as a process of its own, so that the memory of its indexes goes back to the system. What it says
// are guesses: the verifier proves each one under write protection before anything is done.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Message, Room } from '../explain/child.ts'
import type { Level } from '../explain/process.ts'
import type { Guess } from './verify.ts'

/** A file that the explainer found copies of. */
export interface FoundBacking {
  readonly index: number
  readonly path: string
  /** A path that opens this very file even if it has been unlinked, such as /proc/PID/fd/7. */
  readonly openPath: string
  readonly how: string
  /** Name of the lens that makes the bytes; none: they are the file's own. */
  readonly lens?: string
  /** Of a recipe: indexes of the backings that it is made of, which come before it. */
  readonly sources?: readonly number[]
}

export interface Explained {
  readonly backings: readonly FoundBacking[]
  readonly guesses: readonly Guess[]
  readonly zero: readonly { start: number; pages: number }[]
  /** CPU seconds that the explainer used. */
  readonly cpu: number
}

export interface ExplainRequest {
  readonly pid: number
  readonly skip: readonly (readonly [number, number])[]
  readonly backings: readonly string[]
  readonly files: readonly { path: string; via: string }[]
  readonly cacheDir?: string
  readonly level: Level
  /** Pack what is left, into this file of so many bytes at most, instead of searching. */
  readonly pack?: Room
  /** Look for recipes for what is left, and write them into this file, instead of searching. */
  readonly recipe?: Room & { readonly without: readonly string[] }
  readonly cpuShare?: number
}

const here = fileURLToPath(import.meta.url)
const program = fileURLToPath(new URL(`../explain/child${here.slice(-3)}`, import.meta.url))

/** Runs the explainer on a process. Rejects when it fails, or is ended by `signal`; the target is never touched by it. */
export async function explain(request: ExplainRequest, signal: AbortSignal): Promise<Explained> {
  signal.throwIfAborted()
  const child = spawn(process.execPath, ['--max-semi-space-size=4', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const end = (): boolean => child.kill('SIGKILL')
  signal.addEventListener('abort', end)
  const backings: FoundBacking[] = []
  const guesses: Guess[] = []
  const zero: { start: number; pages: number }[] = []
  let cpu = 0
  let done = false
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve(code))
  })
  child.stdin.on('error', () => {})
  child.stdin.end(`${JSON.stringify(request)}\n`)
  let failure = ''
  for await (const line of createInterface({ input: child.stdout })) {
    const m = JSON.parse(line) as Message
    if (m.type === 'backing') backings.push(m)
    else if (m.type === 'extents')
      for (const [start, pages, backing, offset] of m.extents) guesses.push({ start, pages, backing, offset })
    else if (m.type === 'zeros') for (const [start, pages] of m.runs) zero.push({ start, pages })
    else if (m.type === 'error') failure = m.message
    else if (m.type === 'done') {
      done = true
      cpu = m.cpuSeconds
    }
  }
  const code = await ended
  signal.removeEventListener('abort', end)
  if (!done)
    throw new Error(failure === '' ? `the explainer ended with code ${code} before it was done` : failure)
  return { backings, guesses, zero, cpu }
}
