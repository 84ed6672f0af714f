/**
 * Which places in a program own the memory that files explain: the explanations of its pages, joined with the recorder's table.
 *
 * A byte of an explained page belongs, in this order, to
 *   1. the live block that it lies in (with a few bytes around it: malloc's headers),
 *   2. where no recorded block is, to small blocks, of which only some are recorded: by their weights,
 *   3. the large block that was freed there last, and whose memory malloc has kept,
 *   4. the range that the program mapped itself,
 *   5. nobody: its origin is not known.
 * A site is a stack; two stacks that read the same are one site.
 */
import { explainProcess, type ExplainProcessOptions, type ProcessExplanations } from '../explain/process.ts'
import { wholeCommandLine } from '../process/target.ts'
import { Owners } from './owners.ts'
import { type Frame, Symbols } from './symbols.ts'
import type { Block, Stack, Table } from './table.ts'

const PAGE = 4096
/** Gaps beside a block that are malloc's own. */
const HEADER = 64
/** Sites without explained bytes are named from so many live bytes on, and so many of them. */
const NAMED_FROM = 1 << 20
const MOST_NAMED = 100
/** Python's interpreter loop: below it are its own frames. */
const INTERPRETER = /^_PyEval_EvalFrame/

export interface SiteSource {
  readonly path: string
  readonly lens: string
  readonly bytes: number
}

export interface Site {
  /** Innermost first. */
  readonly frames: readonly Frame[]
  /** Bytes of explained pages that came about here. */
  readonly explained: number
  /** Of these, what the program has freed and malloc has kept. */
  readonly freed: number
  /** Bytes of live blocks and ranges, as they were asked for. */
  readonly live: number
  /** Live blocks; an estimate where they are small. */
  readonly blocks: number
  /** Where the explained bytes come from, most first. */
  readonly sources: readonly SiteSource[]
}

export interface SitesReport {
  readonly pid: number
  readonly command: string
  /** Those with most explained bytes first, then those with most live bytes. */
  readonly sites: readonly Site[]
  readonly totals: {
    /** Private anonymous memory that was looked at, bytes; what of it files explain; what of that has a site. */
    readonly anonymous: number
    readonly explained: number
    readonly attributed: number
  }
  /** False: the recorder had no more room, or there was no recorder in the program (it is static, or setuid). */
  readonly complete: boolean
  /** How often the process was looked at; of several looks, `totals` are of the one that explained most. */
  readonly looks: number
  /** That looking took. */
  readonly seconds: number
}

interface Account {
  explained: number
  freed: number
  live: number
  blocks: number
  readonly sources: Map<number, number>
}

/** Looks at a process that is recorded. Throws ProcessError when it can't be read. */
export function findSites(
  pid: number,
  table: Table | undefined,
  options: ExplainProcessOptions = {},
): SitesReport {
  const began = performance.now()
  return sitesOf(pid, table, explainProcess(pid, options), began)
}

/** The same for explanations that are there already; `began`: when looking for them began (`performance.now()`). */
export function sitesOf(
  pid: number,
  table: Table | undefined,
  found: ProcessExplanations,
  began: number,
): SitesReport {
  const accounts = table === undefined ? new Map<number, Account>() : account(found, table)
  const sites = table === undefined ? [] : named(pid, table, accounts, found)
  const sum = (of: (site: Site) => number): number => sites.reduce((total, site) => total + of(site), 0)
  return {
    pid,
    command: wholeCommandLine(pid),
    sites,
    totals: {
      anonymous: found.counts.pages * PAGE,
      explained: found.counts.explained * PAGE,
      attributed: Math.round(sum(site => site.explained)),
    },
    complete: table?.header()?.full === false,
    looks: 1,
    seconds: (performance.now() - began) / 1000,
  }
}

interface Gap {
  readonly start: number
  readonly end: number
  readonly backing: number
}

function account(found: ProcessExplanations, table: Table): Map<number, Account> {
  const accounts = new Map<number, Account>()
  const of = (stack: number): Account => {
    let one = accounts.get(stack)
    if (one === undefined) {
      one = { explained: 0, freed: 0, live: 0, blocks: 0, sources: new Map() }
      accounts.set(stack, one)
    }
    return one
  }
  const give = ({ stack }: Block, backing: number, bytes: number, freed = false): void => {
    const one = of(stack)
    one.explained += bytes
    if (freed) one.freed += bytes
    one.sources.set(backing, (one.sources.get(backing) ?? 0) + bytes)
  }

  const { exact, chosen } = table.blocks()
  const ranges = table.ranges()
  for (const block of [...exact, ...chosen, ...ranges]) {
    const one = of(block.stack)
    one.live += block.weight
    one.blocks += block.weight / Math.max(1, block.bytes)
  }

  const gaps: Gap[] = []
  const owners = new Owners(exact)
  for (const { start, pages, backing } of found.extents) {
    let before: Block | undefined
    let gap: Gap | undefined
    for (const piece of owners.split(start, start + pages * PAGE)) {
      if (piece.owner === undefined) {
        gap = { start: piece.start, end: piece.end, backing }
        continue
      }
      if (gap !== undefined && gap.end - gap.start > HEADER) gaps.push(gap)
      else if (gap !== undefined) give(piece.owner, backing, gap.end - gap.start)
      give(piece.owner, backing, piece.end - piece.start)
      gap = undefined
      before = piece.owner
    }
    if (gap === undefined) continue
    if (before !== undefined && gap.end - gap.start <= HEADER) give(before, backing, gap.end - gap.start)
    else gaps.push(gap)
  }

  const left = shareOut(gaps, chosen, give)
  const freed = new Owners(table.freed())
  const mapped = new Owners(ranges)
  for (const { start, end, backing } of gaps)
    for (const piece of freed.split(start, end))
      if (piece.owner !== undefined) give(piece.owner, backing, (piece.end - piece.start) * left, true)
      else
        for (const part of mapped.split(piece.start, piece.end))
          if (part.owner !== undefined) give(part.owner, backing, (part.end - part.start) * left)
  return accounts
}

/** Gives small blocks their part of what no recorded block owns. Returns the share that is left. */
function shareOut(
  gaps: readonly Gap[],
  chosen: readonly Block[],
  give: (block: Block, backing: number, bytes: number) => void,
): number {
  const all = gaps.reduce((sum, { start, end }) => sum + end - start, 0)
  if (all === 0) return 0
  const inside: [Block, number][] = []
  let weight = 0
  let g = 0
  for (const block of chosen) {
    while (g < gaps.length && (gaps[g]?.end ?? 0) <= block.address) g++
    const gap = gaps[g]
    if (gap === undefined) break
    if (block.address < gap.start) continue
    inside.push([block, gap.backing])
    weight += block.weight
  }
  const theirs = Math.min(all, weight)
  for (const [block, backing] of inside) give(block, backing, (block.weight * theirs) / weight)
  return 1 - theirs / all
}

function named(
  pid: number,
  table: Table,
  accounts: ReadonlyMap<number, Account>,
  found: ProcessExplanations,
): Site[] {
  const byLive = [...accounts].toSorted(([, a], [, b]) => b.live - a.live)
  const idle = byLive.filter(([, one]) => one.explained === 0 && one.live >= NAMED_FROM).slice(0, MOST_NAMED)
  const wanted = [...byLive.filter(([, one]) => one.explained > 0), ...idle].map(
    ([number, one]) => [table.stack(number), one] as const,
  )
  const symbols = new Symbols(pid)
  symbols.learn(wanted.flatMap(([stack]) => stack.native))
  const merged = new Map<string, { frames: Frame[]; account: Account }>()
  for (const [stack, one] of wanted) {
    const frames = framesOf(stack, symbols)
    const key = keyOf(frames)
    const same = merged.get(key)
    if (same === undefined) merged.set(key, { frames, account: { ...one, sources: new Map(one.sources) } })
    else add(same.account, one)
  }
  return [...merged.values()]
    .map(({ frames, account: one }) => ({
      frames,
      explained: Math.round(one.explained),
      freed: Math.round(one.freed),
      live: Math.round(one.live),
      blocks: Math.round(one.blocks),
      sources: sourcesOf(one.sources, found),
    }))
    .toSorted(mostFirst)
}

const keyOf = (frames: readonly Frame[]): string =>
  frames.map(({ function: name, file, line }) => `${name} ${file} ${line}`).join('\n')

/** Of several looks at a process: the fullest one, with every site as it was when it explained most. */
export function mergeLooks(a: SitesReport, b: SitesReport): SitesReport {
  const [fuller, other] = b.totals.explained >= a.totals.explained ? [b, a] : [a, b]
  const sites = new Map(fuller.sites.map(site => [keyOf(site.frames), site]))
  for (const site of other.sites) {
    const same = sites.get(keyOf(site.frames))
    if (same === undefined || site.explained > same.explained) sites.set(keyOf(site.frames), site)
  }
  return {
    ...fuller,
    sites: [...sites.values()].toSorted(mostFirst),
    looks: a.looks + b.looks,
    complete: a.complete && b.complete,
    seconds: a.seconds + b.seconds,
  }
}

const mostFirst = (a: Site, b: Site): number => b.explained - a.explained || b.live - a.live

function add(to: Account, one: Account): void {
  to.explained += one.explained
  to.freed += one.freed
  to.live += one.live
  to.blocks += one.blocks
  for (const [backing, bytes] of one.sources) to.sources.set(backing, (to.sources.get(backing) ?? 0) + bytes)
}

function sourcesOf(bytesOf: ReadonlyMap<number, number>, found: ProcessExplanations): SiteSource[] {
  return [...bytesOf]
    .map(([backing, bytes]) => ({
      path: found.candidates[backing]?.path ?? '',
      lens: found.candidates[backing]?.lens ?? 'verbatim',
      bytes: Math.round(bytes),
    }))
    .filter(({ bytes }) => bytes > 0)
    .toSorted((a, b) => b.bytes - a.bytes)
}

/** The stack as its programmer would say it: Python's own frames in place of its interpreter's. */
function framesOf(stack: Stack, symbols: Symbols): Frame[] {
  const native: Frame[] = []
  for (const address of stack.native) {
    const frames = symbols.framesAt(address)
    if (stack.python.length > 0 && frames.some(frame => INTERPRETER.test(frame.function))) break
    native.push(...frames)
  }
  const python = stack.python.map(
    ({ name, file, line }): Frame => ({
      function: name,
      file,
      ...(line > 0 ? { line } : {}),
      module: 'python',
      language: 'python',
    }),
  )
  return [...native, ...python]
}
