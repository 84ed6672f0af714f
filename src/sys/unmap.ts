// Clean pages of files that this process has mapped, out of its page table: they stay in the page cache, and come back with a minor fault each.
import { readFileSync } from 'node:fs'
import { advise } from './memory.ts'

/** Addresses: from where to where. */
export type Range = readonly [number, number]

/** The read-only mappings of files with such a name of which no page was changed. */
export function cleanMappings(wanted: (name: string) => boolean): Range[] {
  const mappings = readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
  const clean: Range[] = []
  for (const mapping of mappings) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) +(\/\S+)/.exec(mapping)
    if (head === null || head[4] === '0') continue
    const [, start = '', end = '', flags = '', , name = ''] = head
    // Relocated constants are private copies and must stay.
    const own = Number(/^Anonymous:\s+(\d+)/m.exec(mapping)?.[1] ?? 1)
    if (flags.includes('w') || own !== 0 || !wanted(name)) continue
    clean.push([Number.parseInt(start, 16), Number.parseInt(end, 16)])
  }
  return clean
}

/**
 * Gives back the resident pages of such mappings. Who names a file that another thread may be unmapping gives back whatever is
 * in its place.
 */
export function unmapClean(wanted: (name: string) => boolean): void {
  unmap(cleanMappings(wanted))
}

/** Gives back the resident pages of clean mappings that are there still. */
export function unmap(mappings: readonly Range[]): void {
  for (const [start, end] of mappings) advise(start, end - start, 4 /* MADV_DONTNEED */)
}
