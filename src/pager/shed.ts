// A pager should be small itself. Node's own code and constants are clean file pages: unmapping them from our page
// table costs nothing, they stay in the page cache and come back, where they are needed, with a minor fault.
import { readFileSync } from 'node:fs'
import { advise } from '../sys/memory.ts'

/** Gives back the resident pages of read-only file mappings, and garbage that V8 holds. */
export function shed(): void {
  const collect = (globalThis as { gc?: () => void }).gc
  collect?.()
  const mappings = readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
  for (const mapping of mappings) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) +(\/\S+)/.exec(mapping)
    if (head === null || head[4] === '0') continue
    const [, start = '', end = '', flags = '', , name = ''] = head
    // Relocated constants are private copies and must stay.
    const own = Number(/^Anonymous:\s+(\d+)/m.exec(mapping)?.[1] ?? 1)
    if (flags.includes('w') || own !== 0 || !/^\/.*(node|\.node|\.so)/.test(name)) continue
    const from = Number.parseInt(start, 16)
    advise(from, Number.parseInt(end, 16) - from, 4 /* MADV_DONTNEED */)
  }
}
