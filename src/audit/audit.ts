/**
 * What of a process's memory can be made again, and from what. Read-only: the target is not stopped for a
 * moment, nothing in it changes. The snapshot is of a running process; a page that changes while it is read does not
 * compare equal and counts as unexplained.
 *
 * Pages counted: present private anonymous ones of the writable private anonymous mappings. Every such page is exactly
 * one of: virtual (already made again on demand), explained, zero, duplicate, unexplained, unreadable.
 */
import { release } from 'node:os'
import { explainProcess, type ExplainProcessOptions, type ProcessExplanations } from '../explain/process.ts'
import { indexStore } from '../explain/stores.ts'
import { isPrivateAnonymous, readMaps } from '../process/maps.ts'
import { Pagemap } from '../process/pagemap.ts'
import { memoryFigures, wholeCommandLine } from '../process/target.ts'
import { mostPriced, priceOf, type Saving, savingOf } from './cost.ts'
import { type Grain, grain } from './grain.ts'
import { type Pattern, patternOf } from './patterns.ts'
import { type Rest, restOf } from './rest.ts'
import { type PageMap, type Part, walk } from './walk.ts'

const PAGE = 4096
/** Offsets of a file of which some are tried, for its price. */
const MOST_OFFSETS = 64

/** A run of virtual pages of an attached process; `offset` is the byte at `start` of what the lens makes. */
export interface VirtualRun {
  readonly start: number
  readonly pages: number
  readonly path: string
  /** Name of the lens that makes the bytes. */
  readonly lens: string
  readonly offset: number
}

/** What its pager says of an attached process. */
export interface PagerFigures {
  /** Bytes that pager and supervisor take. */
  readonly own: number
  /** Seconds that a refill of 64 KiB takes, as measured. */
  readonly backings: readonly { readonly path: string; readonly lens: string; readonly price: number }[]
}

export interface AuditOptions extends ExplainProcessOptions {
  /** The virtual pages in [start, end), for a process that is attached. */
  readonly virtual?: (start: number, end: number) => Iterable<VirtualRun>
  readonly pager?: PagerFigures
  /** Looks below pages too: see grain.ts. A second or two. */
  readonly grain?: boolean
  /** Who asked for the memory, for a process that is recorded. */
  readonly owners?: (found: ProcessExplanations) => AuditSites
}

/** A place in the program, which asked for memory. Bytes. */
export interface AuditSite {
  /** What was called there, and by whom. */
  readonly name: string
  /** Functions with their places, the innermost first. */
  readonly stack: readonly string[]
  /** Of explained pages; what of these is freed and kept by malloc. */
  readonly explained: number
  readonly freed: number
  /** Of live blocks, and how many these are. */
  readonly live: number
  readonly blocks: number
  readonly sources: readonly { readonly path: string; readonly lens: string; readonly bytes: number }[]
}

export interface AuditSites {
  /** Those that own explained bytes, most first. */
  readonly list: readonly AuditSite[]
  /** False: the recorder had no more room, or was not in the program. */
  readonly complete: boolean
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
  /** How the file was found, for people. */
  readonly how: string
  readonly lens: string
  /** Of memory that it explains, virtual pages included. */
  readonly bytes: number
  /** How the memory came to hold it. */
  readonly pattern: Pattern
  /** Runs of memory that hold consecutive bytes of it. */
  readonly runs: number
  /** Seconds that a refill of 64 KiB takes; missing: not tried. */
  readonly price?: number
}

export interface AuditReport {
  /** Of this document; a later one may have more properties under the same number. */
  readonly format: 1
  /** When, as ISO 8601, and on which kernel. */
  readonly at: string
  readonly kernel: string
  readonly pid: number
  readonly command: string
  /** A pager serves it. */
  readonly attached: boolean
  readonly mappings: readonly AuditMapping[]
  /** Those that explain something, most bytes first. */
  readonly files: readonly AuditFile[]
  /** Which file's bytes are in which mapping, by their places in `files` and `mappings`. */
  readonly parts: readonly Part[]
  readonly map: PageMap
  readonly saving: Saving
  readonly grain?: Grain
  readonly sites?: AuditSites
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
  const rss = memoryFigures(pid)?.rss ?? 0
  const found = explainProcess(pid, options)
  const files = new Files(found, options)
  const virtual: VirtualRun[] = []
  const virtualOf = (start: number, end: number): VirtualRun[] => {
    const runs = [...(options.virtual?.(start, end) ?? [])]
    virtual.push(...runs)
    return runs
  }
  using pagemap = new Pagemap(pid)
  const walked = walk({
    mappings,
    found,
    pagemap,
    virtualOf,
    fileOf: backing => files.ofCandidate(backing),
    fileOfVirtual: run => files.ofVirtual(run),
  })
  const seconds = (performance.now() - began) / 1000
  const rest = restOf(pid, found, options)
  const { list, places } = files.done()
  const sum = (of: (mapping: AuditMapping) => number): number =>
    walked.mappings.reduce((total, one) => total + of(one), 0)
  const totals = {
    pages: sum(one => one.pages),
    virtual: sum(one => one.virtual),
    explained: found.counts.explained,
    zero: found.counts.zero,
    duplicate: found.counts.duplicate,
    unexplained: found.counts.unexplained - found.counts.duplicate,
    unreadable: found.counts.absent,
    swapped: found.present.swapped,
  }
  return {
    format: 1,
    at: new Date().toISOString(),
    kernel: release(),
    pid,
    command: wholeCommandLine(pid),
    attached: options.pager !== undefined,
    mappings: walked.mappings,
    files: list,
    parts: walked.parts.map(part => ({ ...part, file: places[part.file] ?? 0 })),
    map: {
      ...walked.map,
      cells: walked.map.cells.map(cell => ({
        ...cell,
        file: cell.file < 0 ? -1 : (places[cell.file] ?? -1),
      })),
    },
    ...(rest === undefined ? {} : { rest }),
    saving: savingOf(list, totals, rss, options.pager?.own),
    ...(options.grain
      ? { grain: grain({ pid, found, virtual, store: indexStore(options.cacheFolder) }) }
      : {}),
    ...(options.owners === undefined ? {} : { sites: options.owners(found) }),
    totals,
    candidates: found.candidates.length,
    bytesScanned: found.counts.bytesScanned,
    seconds,
    gigabytesPerSecond: found.counts.bytesScanned / seconds / 1e9,
    ownPeakRss: process.resourceUsage().maxRSS * 1024,
    stoppedMilliseconds: 0,
  }
}

interface FileSoFar {
  readonly path: string
  readonly how: string
  readonly lens: string
  /** Index of the candidate; -1: known from the pager only. */
  readonly candidate: number
  bytes: number
  aligned: number
  runs: number
  readonly offsets: number[]
}

// Files in the order in which they come up; `done` sorts them.
class Files {
  readonly #found: ProcessExplanations
  readonly #options: AuditOptions
  readonly #all: FileSoFar[] = []
  readonly #known = new Map<string, number>()

  constructor(found: ProcessExplanations, options: AuditOptions) {
    this.#found = found
    this.#options = options
    for (const { backing, pages, start, offset } of found.extents) {
      const file = this.#all[this.ofCandidate(backing)]
      if (file) add(file, pages, start, offset)
    }
  }

  ofCandidate(backing: number): number {
    const { path = '?', how = '', lens = 'verbatim' } = this.#found.candidates[backing] ?? {}
    return this.#of(path, how, lens, backing)
  }

  /** Counts the run besides. */
  ofVirtual({ path, lens, pages, start, offset }: VirtualRun): number {
    const index = this.#of(path, 'attached', lens, -1)
    const file = this.#all[index]
    if (file) add(file, pages, start, offset)
    return index
  }

  #of(path: string, how: string, lens: string, candidate: number): number {
    const key = `${lens} ${path}`
    let index = this.#known.get(key)
    if (index === undefined) {
      index = this.#all.push({ path, how, lens, candidate, bytes: 0, aligned: 0, runs: 0, offsets: [] }) - 1
      this.#known.set(key, index)
    }
    return index
  }

  /** Most bytes first, priced; `places`: where each one went. */
  done(): { list: AuditFile[]; places: number[] } {
    const order = this.#all.map((_, i) => i).sort((a, b) => this.#bytes(b) - this.#bytes(a) || a - b)
    const places: number[] = []
    for (const [place, index] of order.entries()) places[index] = place
    const store = indexStore(this.#options.cacheFolder)
    const list = order.map((index, place): AuditFile => {
      const { path, how, lens, bytes, aligned, runs, candidate, offsets } = this.#all[index] as FileSoFar
      const pager = this.#options.pager?.backings.find(one => one.path === path && one.lens === lens)
      const tried = this.#found.candidates[candidate]
      const price =
        pager?.price ??
        (tried && place < mostPriced ? priceOf({ candidate: tried, offsets }, store) : undefined)
      return {
        path,
        how,
        lens,
        bytes,
        pattern: patternOf(lens, aligned > bytes / 2),
        runs,
        ...(price === undefined ? {} : { price }),
      }
    })
    return { list, places }
  }

  #bytes(index: number): number {
    return this.#all[index]?.bytes ?? 0
  }
}

function add(file: FileSoFar, pages: number, start: number, offset: number): void {
  file.bytes += pages * PAGE
  file.runs++
  if (start % PAGE === offset % PAGE) file.aligned += pages * PAGE
  if (file.offsets.length < MOST_OFFSETS) file.offsets.push(offset)
  else if (Math.random() < MOST_OFFSETS / file.runs)
    file.offsets[Math.floor(Math.random() * MOST_OFFSETS)] = offset
}
