/**
 * A process's mappings, from /proc/PID/maps (cheap) and /proc/PID/smaps (walks the page tables; only where
 * flags are needed). Addresses are numbers: user addresses fit 47 bits.
 */
import { readFileSync } from 'node:fs'

export interface Mapping {
  /** First address and the first address after it; both page aligned. */
  readonly start: number
  readonly end: number
  readonly readable: boolean
  readonly writable: boolean
  readonly executable: boolean
  readonly shared: boolean
  /** Of the mapped file. */
  readonly offset: number
  /** "major:minor" in hexadecimal, as the kernel shows it. */
  readonly device: string
  readonly inode: number
  /** A path, a name in brackets such as [heap], or '' for anonymous memory. ' (deleted)' is taken off. */
  readonly name: string
  readonly deleted: boolean
  /** VmFlags; empty unless they were asked for. */
  readonly flags: ReadonlySet<string>
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) ([-r])([-w])([-x])([-ps]) ([0-9a-f]+) (\S+) (\d+) *(.*)$/
const DELETED = ' (deleted)'
const NO_FLAGS: ReadonlySet<string> = new Set()

/** One line of maps; undefined if it is none. */
function parseMapping(line: string, flags: ReadonlySet<string> = NO_FLAGS): Mapping | undefined {
  const match = LINE.exec(line)
  if (!match) return undefined
  const [, start = '', end = '', r, w, x, p, offset = '', device = '', inode = '', rest = ''] = match
  const deleted = rest.endsWith(DELETED)
  const name = deleted ? rest.slice(0, -DELETED.length) : rest
  return {
    start: Number.parseInt(start, 16),
    end: Number.parseInt(end, 16),
    readable: r === 'r',
    writable: w === 'w',
    executable: x === 'x',
    shared: p === 's',
    offset: Number.parseInt(offset, 16),
    device,
    inode: Number(inode),
    name: name.replaceAll('\\012', '\n'),
    deleted,
    flags,
  }
}

export function parseMaps(text: string): Mapping[] {
  const mappings: Mapping[] = []
  for (const line of text.split('\n')) {
    const mapping = parseMapping(line)
    if (mapping) mappings.push(mapping)
  }
  return mappings
}

/** The same from smaps, with flags. */
export function parseSmaps(text: string): Mapping[] {
  const mappings: Mapping[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('VmFlags:')) {
      const last = mappings.pop()
      if (last) mappings.push({ ...last, flags: new Set(line.slice(8).trim().split(' ')) })
    } else {
      const mapping = parseMapping(line)
      if (mapping) mappings.push(mapping)
    }
  }
  return mappings
}

export interface MapsOptions {
  /** Reads smaps, so that `flags` are known. */
  readonly flags?: boolean
}

export function readMaps(pid: number, options: MapsOptions = {}): Mapping[] {
  if (!options.flags) return parseMaps(readFileSync(`/proc/${pid}/maps`, 'latin1'))
  return parseSmaps(readFileSync(`/proc/${pid}/smaps`, 'latin1'))
}

const KERNELS: ReadonlySet<string> = new Set(['[vvar]', '[vvar_vclock]', '[vdso]', '[vsyscall]'])

/**
 * Whether a mapping is private anonymous writable memory that may be explained and dropped: not a stack, nothing
 * of the kernel's, no huge pages of hugetlbfs, and not locked (the last two are known only with flags).
 */
export function isPrivateAnonymous(mapping: Mapping): boolean {
  if (mapping.shared || !mapping.readable || !mapping.writable || mapping.inode !== 0) return false
  if (mapping.name.startsWith('/') || KERNELS.has(mapping.name)) return false
  if (mapping.name.startsWith('[stack')) return false
  return (
    !mapping.flags.has('ht') &&
    !mapping.flags.has('lo') &&
    !mapping.flags.has('io') &&
    !mapping.flags.has('pf')
  )
}
