/** New problems like the lecture's: for any machine, tables made from a seed, addresses, and their answers. */
import type { MachineConfig } from './config.ts'
import { Random } from './sets.ts'
import { type CacheRow, loadState, type MachineState, type PageRow, type TlbRow } from './state.ts'
import { type Sheet, translate } from './translate.ts'

export interface Quiz {
  readonly seed: number
  readonly state: MachineState
  readonly answers: readonly Sheet[]
}

const shown = 16

/** `count` problems. The same seed and machine make the same problems. */
export function quiz(config: MachineConfig, seed: number, count = 4): Quiz {
  const random = new Random(Math.imul(seed + 1, 0x9e3779b1))
  const { pageSize } = config
  const vpns = 2 ** (config.virtualBits - Math.log2(pageSize))
  const first = vpns <= shown * 4 ? 0 : big(random, vpns - shown)
  const start = vpns === 256 ? 0 : first
  const pages: PageRow[] = []
  const frames = new Set<number>()
  for (let i = 0; i < Math.min(shown, vpns); i++) {
    if (random.below(100) < 35 || frames.size >= config.frames) continue
    let ppn = random.below(config.frames)
    while (frames.has(ppn)) ppn = (ppn + 1) % config.frames
    frames.add(ppn)
    pages.push({ vpn: start + i, ppn })
  }
  const state: MachineState = {
    pageTable: pages,
    ...(config.tlb === null || !config.translation ? {} : { tlb: tlbRows(config, random, pages) }),
    caches: cacheRows(config, random, pages),
  }
  const machine = loadState(config, state)
  const answers = Array.from({ length: count }, (_, i) => {
    const page =
      i % 4 === 3 || pages.length === 0
        ? start + random.below(Math.min(shown, vpns))
        : Number(pages[random.below(pages.length)]?.vpn)
    return translate(machine, page * pageSize + nearLine(config, random, machine, page))
  })
  return { seed, state, answers }
}

function big(random: Random, bound: number): number {
  return Math.floor((random.below(2 ** 26) / 2 ** 26) * bound)
}

/** An offset; every other time one that the cache has, if it has any of this page. */
function nearLine(
  config: MachineConfig,
  random: Random,
  machine: ReturnType<typeof loadState>,
  vpn: number,
): number {
  const offset = random.below(config.pageSize)
  const cache = machine.mmu.caches.first('read')
  const { valid, frame } = machine.table.entry(vpn)
  if (cache === undefined || !valid || random.below(2) === 0) return offset
  for (let i = 0; i < config.pageSize; i++) {
    const at = (offset + i) % config.pageSize
    if (cache.holds(frame * config.pageSize + at)) return at
  }
  return offset
}

function tlbRows(config: MachineConfig, random: Random, pages: readonly PageRow[]): TlbRow[] {
  const { entries, ways } = config.tlb as NonNullable<MachineConfig['tlb']>
  const sets = entries / ways
  const rows: TlbRow[] = []
  const used = new Map<number, number>()
  for (const { vpn, ppn } of pages) {
    const set = Number(vpn) % sets
    const way = used.get(set) ?? 0
    if (way >= ways || random.below(100) < 40) continue
    used.set(set, way + 1)
    rows.push({ set, way, tag: (Number(vpn) - set) / sets, ppn })
  }
  return rows
}

function cacheRows(
  config: MachineConfig,
  random: Random,
  pages: readonly PageRow[],
): Record<string, CacheRow[]> {
  const level = config.caches[0]
  if (level === undefined || pages.length === 0) return {}
  const { line, size, ways } = level.unified ?? (level.data as NonNullable<typeof level.data>)
  const sets = size / line / ways
  const rows: CacheRow[] = []
  const used = new Map<number, number>()
  const there = new Set<number>()
  for (let i = 0; i < Math.min(sets * ways, 16); i++) {
    const frame = Number(pages[random.below(pages.length)]?.ppn)
    const number = Math.floor((frame * config.pageSize + random.below(config.pageSize)) / line)
    const set = number % sets
    const way = used.get(set) ?? 0
    if (way >= ways || there.has(number)) continue
    there.add(number)
    used.set(set, way + 1)
    const bytes = Array.from({ length: line }, () => random.below(256).toString(16).padStart(2, '0')).join('')
    rows.push({ set, way, tag: (number - set) / sets, bytes })
  }
  return { [level.unified === undefined ? 'L1d' : 'L1']: rows }
}
