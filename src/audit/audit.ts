/**
 * What of a process's memory can be made again, and from what. Read-only: the target is not stopped for a
 * moment, nothing in it changes. The snapshot is of a running process; a page that changes while it is read does not
 * compare equal and counts as unexplained.
 *
 * Pages counted: present private anonymous ones of the writable private anonymous mappings. Every such page is exactly
 * one of: virtual (already made again on demand), explained, zero, duplicate, unexplained, unreadable.
 */
import { readFileSync } from 'node:fs'
import { EXPLAINED, UNEXPLAINED, ZERO } from '../explain/extents.ts'
import { explainProcess, type ExplainProcessOptions, type ProcessExplanations } from '../explain/process.ts'
import { isPrivateAnonymous, type Mapping, readMaps } from '../process/maps.ts'
import { Pagemap } from '../process/pagemap.ts'
import { type Rest, restOf } from './rest.ts'

const PAGE = 4096

/** A run of virtual pages of an attached process; `offset` is the byte at `start` of what the lens makes. */
export interface VirtualRun {
  readonly start: number
  readonly pages: number
  readonly path: string
  /** Name of the lens that makes the bytes. */
  readonly lens: string
  readonly offset: number
}

export interface AuditOptions extends ExplainProcessOptions {
  /** The virtual pages in [start, end), for a process that is attached. */
  readonly virtual?: (start: number, end: number) => Iterable<VirtualRun>
}

/** Pages by what they are. */
export interface PageTally {
  readonly virtual: number
  readonly explained: number
  readonly zero: number
  /** Unexplained pages that hold the same as another one of the process. */
  readonly duplicate: number
  readonly unexplained: number
}

export interface AuditMapping extends PageTally {
  readonly start: number
  readonly end: number
  readonly name: string
  /** Bytes of the mapping that are in memory, of whatever kind. */
  readonly rss: number
  /** Present private anonymous pages, virtual ones included. */
  readonly pages: number
}

export interface AuditFile {
  readonly path: string
  readonly how: string
  readonly lens: string
  readonly bytes: number
}

export interface AuditReport {
  readonly pid: number
  readonly command: string
  readonly mappings: readonly AuditMapping[]
  /** Those that explain something, most bytes first. */
  readonly files: readonly AuditFile[]
  readonly totals: PageTally & {
    readonly pages: number
    readonly unreadable: number
    readonly swapped: number
  }
  /** What pieces of files and packing could do for the unexplained pages; missing: too little is left. */
  readonly rest?: Rest
  /** Files that were considered. */
  readonly candidates: number
  readonly bytesScanned: number
  readonly seconds: number
  /** GB (10^9 bytes) of memory scanned a second, all work included. */
  readonly gigabytesPerSecond: number
  /** The largest resident size of the auditing process, in bytes. */
  readonly ownPeakRss: number
  /** Always 0: an audit reads a running process. */
  readonly stoppedMilliseconds: 0
}

export async function audit(pid: number, options: AuditOptions = {}): Promise<AuditReport> {
  const began = performance.now()
  const mappings = readMaps(pid, { flags: true }).filter(isPrivateAnonymous)
  const found = explainProcess(pid, options)
  const files = new Map<string, AuditFile>()
  const addFile = (path: string, how: string, lens: string, bytes: number): void => {
    const key = `${lens} ${path}`
    files.set(key, { path, how, lens, bytes: (files.get(key)?.bytes ?? 0) + bytes })
  }
  for (const { backing, pages } of found.extents) {
    const candidate = found.candidates[backing]
    if (candidate) addFile(candidate.path, candidate.how, candidate.lens ?? 'verbatim', pages * PAGE)
  }
  const tallies = tallyMappings(pid, mappings, found, options.virtual, addFile)
  const seconds = (performance.now() - began) / 1000
  const rest = restOf(pid, found, options)
  const sum = (of: (mapping: AuditMapping) => number): number =>
    tallies.reduce((total, one) => total + of(one), 0)
  return {
    pid,
    command: readCommand(pid),
    mappings: tallies.filter(mapping => mapping.pages > 0),
    files: [...files.values()].toSorted((a, b) => b.bytes - a.bytes),
    totals: {
      pages: sum(one => one.pages),
      virtual: sum(one => one.virtual),
      explained: found.counts.explained,
      zero: found.counts.zero,
      duplicate: found.counts.duplicate,
      unexplained: found.counts.unexplained - found.counts.duplicate,
      unreadable: found.counts.absent,
      swapped: found.present.swapped,
    },
    ...(rest === undefined ? {} : { rest }),
    candidates: found.candidates.length,
    bytesScanned: found.counts.bytesScanned,
    seconds,
    gigabytesPerSecond: found.counts.bytesScanned / seconds / 1e9,
    ownPeakRss: process.resourceUsage().maxRSS * 1024,
    stoppedMilliseconds: 0,
  }
}

function tallyMappings(
  pid: number,
  mappings: readonly Mapping[],
  found: ProcessExplanations,
  virtualOf: AuditOptions['virtual'],
  addFile: (path: string, how: string, lens: string, bytes: number) => void,
): AuditMapping[] {
  const { findings } = found
  const duplicates = findings.duplicateFlags()
  using pagemap = new Pagemap(pid)
  let r = 0
  return mappings.map(({ start, end, name }) => {
    const counts = { present: 0, swapped: 0, file: 0, protected: 0 }
    pagemap.present(start, end, counts)
    const tally = { virtual: 0, explained: 0, zero: 0, duplicate: 0, unexplained: 0 }
    let pages = 0
    for (; r < findings.runs.length; r++) {
      const run = findings.runs[r]
      if (!run || run.start >= end) break
      if (run.start < start) continue
      pages += run.pages
      const first = findings.firsts[r] ?? 0
      for (let i = first; i < first + run.pages; i++) {
        const state = findings.state[i]
        if (state === EXPLAINED) tally.explained++
        else if (state === ZERO) tally.zero++
        else if (state === UNEXPLAINED) tally[duplicates[i] === 1 ? 'duplicate' : 'unexplained']++
      }
    }
    for (const run of virtualOf?.(start, end) ?? []) {
      tally.virtual += run.pages
      addFile(run.path, 'attached', run.lens, run.pages * PAGE)
    }
    return { start, end, name, rss: counts.present * PAGE, pages: pages + tally.virtual, ...tally }
  })
}

function readCommand(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}
