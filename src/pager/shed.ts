// A pager should be small itself. Node's own code and constants are clean file pages: unmapping them from our page
// table costs nothing, they stay in the page cache and come back, where they are needed, with a minor fault.
import { readFileSync } from 'node:fs'
import { trimHeap } from '../sys/ffi.ts'
import { advise } from '../sys/memory.ts'

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

/** Gives back the resident pages of read-only mappings of files with such a name. */
function unmapClean(wanted: (name: string) => boolean): void {
  const mappings = readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
  for (const mapping of mappings) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) +(\/\S+)/.exec(mapping)
    if (head === null || head[4] === '0') continue
    const [, start = '', end = '', flags = '', , name = ''] = head
    // Relocated constants are private copies and must stay.
    const own = Number(/^Anonymous:\s+(\d+)/m.exec(mapping)?.[1] ?? 1)
    if (flags.includes('w') || own !== 0 || !wanted(name)) continue
    const from = Number.parseInt(start, 16)
    advise(from, Number.parseInt(end, 16) - from, 4 /* MADV_DONTNEED */)
  }
}
