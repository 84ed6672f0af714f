// What is told of a guest's run when it has ended: to people on standard error, with --json a line for each thing.
import { writeFileSync } from 'node:fs'
import type { BudgetCounts, BudgetPicture } from '../guest/budget.ts'
import type { GcCounts } from '../guest/gc.ts'
import type { Party } from '../guest/malloc-accesses.ts'
import type { MallocWatch } from '../guest/malloc-sites.ts'
import { frameText } from '../guest/traces.ts'
import type { GuestFlags } from './guest.ts'
import { say } from './output.ts'
import { formatSize } from './size.ts'

const size = (pages: number): string => formatSize(pages * 4096)

export function tellBudget(counts: BudgetCounts, picture: BudgetPicture, flags: GuestFlags): void {
  if (flags.verbose === true) say(budgetText(counts))
  record(flags, { type: 'budget', budget: flags.budget, ...counts, ...picture })
}

function budgetText(c: BudgetCounts): string {
  const dropped = c.droppedZero + c.droppedFile + c.droppedPacked + c.droppedClean
  return (
    `most resident ${size(c.peak)}; dropped ${size(dropped)} (${size(c.droppedFile)} to be had from files, ${size(c.droppedPacked)} packed, ` +
    `${size(c.droppedZero)} zeros, ${size(c.droppedClean)} unchanged), ${size(c.released)} given back by free, ${size(c.trimmed)} without a living block; ` +
    `${c.faults} faults brought ${size(c.fromFile)} from files, ${size(c.unpacked)} unpacked, ${size(c.zeros)} zeros; ` +
    `kept on the side at the end: ${formatSize(c.packedBytes)} for ${size(c.packedPages)}`
  )
}

export function tellGc(c: GcCounts, flags: GuestFlags): void {
  record(flags, { type: 'gc', ...c })
  if (flags.json !== undefined) return
  say(
    `${c.collections} collections freed ${c.reclaimed} of ${c.mallocs} blocks (${formatSize(c.reclaimedBytes)}); ${c.frees} calls of free did nothing; ` +
      `heap of ${formatSize(c.heap)} at most, ${formatSize(c.bytes)} in ${c.objects} blocks at the end; ` +
      `pauses of ${c.pauses.toFixed(1)} ms, the longest ${c.longestPause.toFixed(1)} ms`,
  )
}

/** Sites that are told without --json. */
const mostSites = 20

export function tellSites(watch: MallocWatch, flags: GuestFlags): void {
  const sites = watch.sites()
  if (flags.json !== undefined) {
    record(flags, { type: 'heap', peak: watch.peak, strangeFrees: watch.strange, sites: sites.length })
    for (const site of sites) record(flags, { ...site, type: 'site' })
    record(flags, { type: 'owners', runs: watch.map() })
    return
  }
  const line = (text: string): void => void process.stderr.write(`${text}\n`)
  line(`${sites.length} places took memory; at most ${formatSize(watch.peak)} of blocks lived at a time`)
  for (const site of sites.slice(0, mostSites)) {
    const { blocks, bytes, freed, lived, peakBytes, looked, explained } = site
    const life = freed === 0 ? 'none freed' : `${freed} freed after ${Math.round(lived / freed)} mallocs`
    line(`${formatSize(bytes)} in ${blocks} blocks, at most ${formatSize(peakBytes)} at a time, ${life}`)
    if (looked !== undefined && explained !== undefined && explained > 0)
      line(`  ${Math.round((explained / looked) * 100)} % of it in files that the program has read`)
    line(`  written ${byWhom(site.written, site.writers)}; read ${byWhom(site.read, site.readers)}`)
    for (const frame of site.stack.slice(0, 8)) line(`    ${frameText(frame)}`)
  }
  if (sites.length > mostSites) line(`… and ${sites.length - mostSites} more; --json has all`)
}

/** Functions that are told of as readers or writers. */
const mostParties = 3

function byWhom(bytes: number, parties: readonly Party[]): string {
  if (parties.length === 0) return 'by nobody'
  const some = parties
    .slice(0, mostParties)
    .map(party => `${party.name ?? `function ${party.index}`} (${Math.round((party.bytes / bytes) * 100)} %)`)
  const more = parties.length - some.length
  return `${formatSize(bytes)} by ${some.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** A line for --json: to the file, or to standard error. */
export function record(flags: GuestFlags, line: object): void {
  if (flags.json === undefined) return
  if (flags.json === true) process.stderr.write(`${JSON.stringify(line)}\n`)
  else writeFileSync(flags.json, `${JSON.stringify(line)}\n`, { flag: 'a' })
}
