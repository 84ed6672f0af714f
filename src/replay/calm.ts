// What was needed while a guest loaded, given back: V8 keeps the heap of each thread as large as it was, the C library what was freed, and the page table
// the code of node.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { trimHeap } from '../sys/ffi.ts'
import { cleanMappings, type Range, unmap } from '../sys/unmap.ts'

type Collect = (how: { type: 'major' | 'minor'; execution: 'sync'; flavor?: 'last-resort' }) => void

let found: Collect | null | undefined

// As `node --expose-gc`, but found when it is wanted: who runs a guest has no say in how node is started.
function collector(): Collect | null {
  if (found !== undefined) return found
  try {
    setFlagsFromString('--expose-gc')
    found = runInNewContext('gc') as Collect
  } catch {
    found = null
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
  return found
}

/** For the calling thread. It takes some tens of milliseconds. */
export function giveBack(): void {
  // This kind of collection makes the heap as small as it can be.
  collector()?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  trimHeap()
  unmapCode()
}

/** What was in use for a moment only. It takes a millisecond or two. */
export function sweep(): void {
  collector()?.({ type: 'minor', execution: 'sync' })
  trimHeap()
}

let code: readonly Range[] | undefined

/** Half of what is left is node itself, and little of it is needed between two faults. It takes some 0.4 ms, the first time 5. */
export function unmapCode(): void {
  code ??= cleanMappings(name => name === process.execPath)
  unmap(code)
}
