/**
 * A run of the simulated machine, access by access, with all that can be seen after each. Runs are short, so everything is recorded at
 * once and stepping back is as cheap as stepping on.
 */
import type { Access, Entry } from '../../machine/access.ts'
import type { MachineConfig } from '../../machine/config.ts'
import type { Machine, Reference } from '../../machine/machine.ts'
import type { Queue } from '../../policy/policy.ts'

export interface PageRow {
  readonly vpn: number
  readonly entry: Entry
  /** Where the page is when it is not in memory. */
  readonly where: 'memory' | 'swap' | 'file' | 'lens' | 'zero'
  readonly slot: number
}

export interface ProcessShot {
  readonly pid: number
  readonly name: string
  readonly ended: string | undefined
  readonly regions: readonly { readonly name: string; readonly start: number; readonly end: number }[]
  readonly pages: readonly PageRow[]
}

export interface FrameShot {
  readonly frame: number
  /** Empty: free, or a page table's. */
  readonly pages: readonly { readonly pid: number; readonly vpn: number }[]
  readonly dirty: boolean
  readonly from: string
  readonly table: boolean
}

export interface Shot {
  readonly access: Access | undefined
  readonly note: string
  readonly current: number
  readonly processes: readonly ProcessShot[]
  readonly tlb: readonly (
    | { readonly pid: number; readonly vpn: number; readonly frame: number }
    | undefined
  )[]
  readonly caches: readonly {
    readonly name: string
    readonly lines: readonly { address: number; dirty: boolean }[]
  }[]
  readonly frames: readonly FrameShot[]
  readonly swap: readonly number[]
  readonly queues: readonly Queue[]
  readonly units: Readonly<Record<number, string>>
  readonly clock: number
}

export interface Film {
  readonly config: MachineConfig
  readonly shots: readonly Shot[]
}

/** What a scenario does next: a reference of a process, or something else that the kernel is asked for. */
export type Move =
  | { readonly pid: number; readonly reference: Reference; readonly note?: string }
  | { readonly act: () => void; readonly note: string }

export function record(machine: Machine, moves: Iterable<Move>, most = 400): Film {
  const shots: Shot[] = [shoot(machine, undefined, 'Before the first access')]
  for (const move of moves) {
    if (shots.length > most) break
    if ('act' in move) {
      move.act()
      shots.push(shoot(machine, undefined, move.note))
      continue
    }
    for (const access of machine.access(move.pid, move.reference))
      shots.push(shoot(machine, access, move.note ?? ''))
  }
  return { config: machine.config, shots }
}

function shoot(machine: Machine, access: Access | undefined, note: string): Shot {
  const { mmu, kernel, config } = machine
  const frames: FrameShot[] = Array.from({ length: Math.min(config.frames, 64) }, (_, frame) => ({
    frame,
    pages: [],
    dirty: false,
    from: '',
    table: false,
  }))
  const units: Record<number, string> = {}
  for (const use of kernel.frames.uses()) {
    const name = use.pages.map(page => `${page.process.pid}:${page.vpn.toString(16)}`).join(' ')
    units[use.unit] = name
    frames[use.frame] = {
      frame: use.frame,
      pages: use.pages.map(page => ({ pid: page.process.pid, vpn: page.vpn })),
      dirty: use.dirty,
      from: use.source === undefined ? (use.slot < 0 ? '' : `swap ${use.slot}`) : use.source.name,
      table: false,
    }
  }
  const processes = [...machine.processes.values()].map(process => ({
    pid: process.pid,
    name: process.name,
    ended: process.ended,
    regions: process.regions.map(({ name, start, end }) => ({ name, start, end })),
    pages:
      process.ended !== undefined || !config.translation
        ? []
        : [...process.pages.values()]
            .sort((a, b) => a.vpn - b.vpn)
            .map(page => {
              const source = process.regionAt(page.vpn * config.pageSize)?.source
              return {
                vpn: page.vpn,
                entry: { ...process.table.entry(page.vpn) },
                where: whereIs(page.frame, page.slot, page.own ? undefined : source?.kind),
                slot: page.slot,
              }
            }),
  }))
  for (const process of machine.processes.values())
    if (process.ended === undefined && config.pageTable.placement === 'frames')
      for (const frame of tableFrames(machine, process.pid)) {
        const held = frames[frame]
        if (held !== undefined && held.pages.length === 0) frames[frame] = { ...held, table: true }
      }
  const policy = [...kernel.frames.policies().values()][0]
  return {
    access,
    note,
    current: machine.current?.pid ?? 0,
    processes,
    tlb: (mmu.tlb?.contents() ?? []).map(held =>
      held === undefined ? undefined : { pid: held.process, vpn: held.vpn, frame: held.entry.frame },
    ),
    caches: mmu.caches.all.map(cache => ({ name: cache.name, lines: cache.contents() })),
    frames,
    swap: kernel.disk.slots(),
    queues: policy?.queues() ?? [],
    units,
    clock: machine.clock,
  }
}

function whereIs(frame: number, slot: number, source: 'file' | 'lens' | undefined): PageRow['where'] {
  if (frame >= 0) return 'memory'
  if (slot >= 0) return 'swap'
  return source ?? 'zero'
}

/** Frames that the page tables of a process take. */
function tableFrames(machine: Machine, pid: number): number[] {
  const { table } = machine.process(pid)
  const found = new Set<number>()
  for (const page of machine.process(pid).pages.values()) {
    for (let slot = table.first(page.vpn); ; ) {
      const address = table.address(slot)
      if (address !== undefined) found.add(Math.floor(address / machine.config.pageSize))
      const entry = table.read(slot)
      if (!entry.valid || slot.level === table.depth - 1) break
      slot = table.next(page.vpn, slot, entry.frame)
    }
  }
  return [...found]
}
