// A pager should be small itself. Node's own code and constants are clean file pages: unmapping them from our page
// table costs nothing, they stay in the page cache and come back, where they are needed, with a minor fault.
import { trimHeap } from '../sys/ffi.ts'
import { unmapClean } from '../sys/unmap.ts'

type Collect = (options?: { type: 'major'; flavor: 'last-resort' | 'regular' }) => void

/** Collects the garbage of this thread. `thoroughly`: what is left is moved together too, which takes tens of milliseconds. */
export function collect(thoroughly: boolean): void {
  const { gc } = globalThis as { gc?: Collect }
  gc?.({ type: 'major', flavor: thoroughly ? 'last-resort' : 'regular' })
}

/** Gives back the code of node and its libraries, and what V8 and the C library hold of memory that nobody uses. */
export function shed(thoroughly: boolean): void {
  collect(thoroughly)
  if (thoroughly) trimHeap()
  unmapClean(isCode)
}

/** Only now is free what the server had taken from the C library, and to collect has mapped node's code again. */
export function shedAfterServer(): void {
  trimHeap()
  unmapClean(isCode)
}

const isCode = (name: string): boolean => /^\/.*(node|\.node|\.so)/.test(name)

/** What a thread of ours that is gone leaves behind: free memory that the C library keeps, and the code of node that it ran. */
export function shedAfterThread(): void {
  trimHeap()
  // Not of libraries: the program may be loading one just now.
  unmapClean(name => name === process.execPath)
}
