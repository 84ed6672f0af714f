// Clean pages of files that this process has mapped, out of its page table: they stay in the page cache, and come back with a minor fault each.
import { readFileSync } from 'node:fs'
import { advise } from './memory.ts'

/**
 * Gives back the resident pages of read-only mappings of files with such a name. Who names one that another thread may be unmapping gives back whatever is
 * in its place.
 */
export function unmapClean(wanted: (name: string) => boolean): void {
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
