/** Counters: sums of access records, and nothing else. */
import type { Access, CacheLook } from './access.ts'
import { reach } from './cache.ts'
import type { MachineConfig } from './config.ts'

/** What references to one cache came to: of the processor, of walks, and of the level above. */
export interface CacheCounters {
  reads: number
  writes: number
  fetches: number
  readMisses: number
  writeMisses: number
  fetchMisses: number
  evictions: number
  writeBacks: number
}

export interface Counters {
  accesses: number
  reads: number
  writes: number
  fetches: number
  tlbHits: number
  tlbMisses: number
  tlbEvictions: number
  walks: number
  walkSteps: number
  walkCycles: number
  pageFaults: number
  minorFaults: number
  majorFaults: number
  /** Faults that ended in a signal. */
  violations: number
  zeroFills: number
  copies: number
  evictions: number
  /** Pages written to swap or file. */
  pagesWritten: number
  pagesRead: number
  cycles: number
  /** Of these, for faults: the kernel's work and waiting. */
  faultCycles: number
  /** By name. */
  readonly caches: Record<string, CacheCounters>
}

export function counters(): Counters {
  return {
    accesses: 0,
    reads: 0,
    writes: 0,
    fetches: 0,
    tlbHits: 0,
    tlbMisses: 0,
    tlbEvictions: 0,
    walks: 0,
    walkSteps: 0,
    walkCycles: 0,
    pageFaults: 0,
    minorFaults: 0,
    majorFaults: 0,
    violations: 0,
    zeroFills: 0,
    copies: 0,
    evictions: 0,
    pagesWritten: 0,
    pagesRead: 0,
    cycles: 0,
    faultCycles: 0,
    caches: {},
  }
}

function cacheCounters(): CacheCounters {
  return {
    reads: 0,
    writes: 0,
    fetches: 0,
    readMisses: 0,
    writeMisses: 0,
    fetchMisses: 0,
    evictions: 0,
    writeBacks: 0,
  }
}

function countLook(into: Counters, look: CacheLook): void {
  into.caches[look.name] ??= cacheCounters()
  const cache = into.caches[look.name] as CacheCounters
  const miss = look.hit ? 0 : 1
  if (look.kind === 'read') {
    cache.reads++
    cache.readMisses += miss
  } else if (look.kind === 'write') {
    cache.writes++
    cache.writeMisses += miss
  } else {
    cache.fetches++
    cache.fetchMisses += miss
  }
  if (look.evicted !== undefined) cache.evictions++
  if (look.writeBack) cache.writeBacks++
}

/** Adds one record. */
export function count(into: Counters, access: Access): void {
  into.accesses++
  if (access.kind === 'read') into.reads++
  else if (access.kind === 'write') into.writes++
  else into.fetches++
  if (access.tlb?.hit) into.tlbHits++
  else if (access.tlb !== undefined) into.tlbMisses++
  if (access.tlb?.evicted !== undefined) into.tlbEvictions++
  if (access.walk.length > 0) into.walks++
  into.walkSteps += access.walk.length
  for (const step of access.walk) {
    into.walkCycles += step.cycles
    for (const look of step.caches) countLook(into, look)
  }
  for (const look of access.caches) countLook(into, look)
  into.cycles += access.cycles
  const { fault } = access
  if (fault === undefined) return
  if (access.verdict === 'major fault') into.majorFaults++
  else if (access.verdict === 'minor fault') into.minorFaults++
  else into.violations++
  if (fault.cause !== 'protected' && fault.action !== 'signal') into.pageFaults++
  if (fault.action === 'zero') into.zeroFills++
  if (fault.action === 'copy') into.copies++
  into.evictions += fault.evictions.length
  for (const transfer of fault.transfers)
    if (transfer.direction === 'read') into.pagesRead++
    else into.pagesWritten++
  into.faultCycles += fault.cycles + fault.waits
}

/** Effective access time, as measured and as the lecture's formula has it. */
export interface AccessTime {
  /** Cycles per access. */
  readonly measured: number
  readonly predicted: number
  /** The parts that the prediction is the sum of, each with the numbers put in. */
  readonly terms: readonly { readonly name: string; readonly formula: string; readonly cycles: number }[]
}

/**
 * The prediction knows rates only: translation + cache + fault, each a time for all plus miss rate × penalty, with the latencies of the
 * configuration. It does not know what was shared, queued or overlapped; that is the difference.
 */
export function accessTime(config: MachineConfig, sums: Counters): AccessTime {
  const n = Math.max(1, sums.accesses)
  const { cost } = config
  const terms: { name: string; formula: string; cycles: number }[] = []
  const round = (x: number): string => (x >= 100 ? x.toFixed(0) : Number(x.toPrecision(3)).toString())
  const looked = sums.tlbHits + sums.tlbMisses
  const times = reach(config.caches.length, cost)
  const demand = missRates(config, sums)
  // What a reference to memory costs on average, by the miss rates of the levels.
  const formula: string[] = []
  let perReference = 0
  let share = 1
  config.caches.forEach((_, i) => {
    const step = (times[i] as number) - (times[i - 1] ?? 0)
    formula.push(i === 0 ? round(step) : `${round(share)} × ${round(step)}`)
    perReference += share * step
    share *= demand[i] as number
  })
  formula.push(config.caches.length === 0 ? round(cost.memory) : `${round(share)} × ${round(cost.memory)}`)
  perReference += share * cost.memory
  if (config.translation) {
    const missRate = looked === 0 ? 1 : sums.tlbMisses / looked
    const steps = sums.walks === 0 ? config.pageTable.levels.length : sums.walkSteps / sums.walks
    const step = config.pageTable.cached ? perReference : cost.memory
    terms.push({
      name: 'translation',
      formula: `${round(cost.tlbHit)} + ${round(missRate)} TLB misses × ${round(steps)} entries × ${round(step)}`,
      cycles: cost.tlbHit + missRate * steps * step,
    })
  }
  const reached = (sums.accesses - sums.violations) / n
  terms.push({ name: 'data', formula: formula.join(' + '), cycles: reached * perReference })
  const faults = sums.minorFaults + sums.majorFaults + sums.violations
  const page = cost.diskLatency + config.pageSize * cost.diskByte
  const transfers = sums.pagesRead + sums.pagesWritten
  terms.push({
    name: 'page faults',
    formula: `${round(faults / n)} faults × ${round(cost.fault)} + ${round(transfers / n)} pages from or to disk × ${round(page)}`,
    cycles: (faults * cost.fault + transfers * page) / n,
  })
  return {
    measured: sums.cycles / n,
    predicted: terms.reduce((sum, term) => sum + term.cycles, 0),
    terms,
  }
}

/** Per level, misses of what was asked of it: reads and fetches, and the processor's own writes. */
function missRates(config: MachineConfig, sums: Counters): number[] {
  return config.caches.map((level, i) => {
    const names = level.unified ? [`L${i + 1}`] : [`L${i + 1}i`, `L${i + 1}d`]
    let asked = 0
    let missed = 0
    for (const name of names) {
      const cache = sums.caches[name]
      if (cache === undefined) continue
      asked += cache.reads + cache.fetches + (i === 0 ? cache.writes : 0)
      missed += cache.readMisses + cache.fetchMisses + (i === 0 ? cache.writeMisses : 0)
    }
    return asked === 0 ? 1 : missed / asked
  })
}
