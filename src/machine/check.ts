/**
 * What must always be true of a machine. For tests and stress runs: `check` throws at the first thing that is not, with a text that says where.
 *
 * Level 1 looks at the structures: entries, frames, slots, TLBs, counts. Level 2 looks at bytes as well: what is clean must equal what
 * it was made from. `checkPages` asks the same, with bytes, but only of the pages that an operation has touched: a hundred times
 * cheaper, so that it can follow every operation. What went wrong elsewhere the next `check` finds.
 */
import { state } from '../pager/decide.ts'
import type { FrameUse } from './frames.ts'
import type { Machine } from './machine.ts'
import type { Page, Process, Region } from './process.ts'
import type { TlbEntry } from './tlb.ts'

function must(is: boolean, what: () => string): void {
  if (!is) throw new Error(`lethe machine, invariant broken: ${what()}`)
}

const name = (page: Page): string => `page ${page.vpn} of process ${page.process.pid}`

export function check(machine: Machine, level: 1 | 2 = 1): void {
  const { kernel } = machine
  const slots = new Map<number, number>()
  const inFrames = new Map<number, Page[]>()
  for (const process of machine.processes.values())
    if (process.ended === undefined) checkProcess(machine, process, slots, inFrames)
  for (const use of kernel.frames.uses()) {
    checkFrame(machine, use, level)
    const pages = inFrames.get(use.frame) ?? []
    must(
      use.pages.length === pages.length && use.pages.every(page => pages.includes(page)),
      () => `frame ${use.frame} is ${use.pages.length} pages; ${pages.length} say that they are in it`,
    )
  }
  must(
    inFrames.size === kernel.frames.used,
    () => `${inFrames.size} frames have pages, ${kernel.frames.used} are in the frame table`,
  )
  for (const slot of kernel.disk.slots())
    must(
      kernel.disk.slot(slot).pages === (slots.get(slot) ?? 0),
      () => `swap slot ${slot} counts ${kernel.disk.slot(slot).pages} pages, ${slots.get(slot) ?? 0} have it`,
    )
  for (const slot of slots.keys()) kernel.disk.slot(slot)
  checkCounts(machine)
  checkTlbs(machine)
}

/** Of these pages of a process, by number, whether they are mapped or not: whatever `check` asks, with bytes, and the counts of memory. */
export function checkPages(machine: Machine, pid: number, first: number, count: number): void {
  const process = machine.processes.get(pid)
  if (process === undefined || process.ended !== undefined) return
  for (let vpn = first; vpn < first + count; vpn++) {
    const page = process.pages.get(vpn)
    if (page === undefined)
      must(
        !process.table.valid(vpn),
        () => `page ${vpn} of process ${pid} has no record, but its entry is valid`,
      )
    else {
      checkPage(machine, page)
      if (page.slot >= 0)
        must(
          machine.kernel.disk.slot(page.slot).pages > 0,
          () => `${name(page)} has a slot that counts nobody`,
        )
      if (page.frame >= 0) checkFrame(machine, machine.kernel.frames.use(page.frame), 2)
    }
    for (const tlb of [machine.mmu.tlb, machine.mmu.itlb]) {
      const held = tlb?.peek(pid, vpn)
      if (held !== undefined) checkHeld(machine, tlb?.name, held)
    }
  }
  checkCounts(machine)
}

function checkCounts({ config, kernel, memory, processes }: Machine): void {
  const { used } = kernel.frames
  let tables = 0
  if (config.pageTable.placement === 'frames')
    for (const process of processes.values()) if (process.ended === undefined) tables += process.table.frames
  must(
    memory.free + used + tables === memory.frames,
    () => `${memory.free} frames are free, ${used} hold pages, ${tables} tables; there are ${memory.frames}`,
  )
  let residents = 0
  for (const policy of kernel.frames.policies().values()) residents += policy.residents
  must(residents === used, () => `the policies count ${residents} resident pages, memory holds ${used}`)
}

function checkProcess(
  machine: Machine,
  process: Process,
  slots: Map<number, number>,
  inFrames: Map<number, Page[]>,
): void {
  let end = 0
  for (const region of process.regions) {
    must(region.start >= end && region.end > region.start, () => `region ${region.name} overlaps another`)
    end = region.end
  }
  let resident = 0
  for (const page of process.pages.values()) {
    checkPage(machine, page)
    if (page.slot >= 0) slots.set(page.slot, (slots.get(page.slot) ?? 0) + 1)
    if (page.frame < 0) continue
    resident++
    const sharers = inFrames.get(page.frame)
    if (sharers === undefined) inFrames.set(page.frame, [page])
    else sharers.push(page)
  }
  must(
    resident === process.resident,
    () => `process ${process.pid} counts ${process.resident} pages in memory and has ${resident}`,
  )
}

function checkPage(machine: Machine, page: Page): void {
  const { process, state: s, slot } = page
  const region = process.regionAt(page.vpn * machine.config.pageSize)
  if (region === undefined) throw new Error(`lethe machine, invariant broken: ${name(page)} is in no region`)
  if (page.frame >= 0) {
    must(s === state.present || s === state.clean, () => `${name(page)} is in memory in state ${s}`)
    checkEntry(machine, page, region)
    return
  }
  must(!process.table.valid(page.vpn), () => `${name(page)} is not in memory, but its entry is valid`)
  must(
    s === state.absent
      ? slot < 0
      : s === state.virtual
        ? slot >= 0 || region.source !== undefined
        : s === state.lost,
    () => `${name(page)} is not in memory in state ${s}, slot ${slot}`,
  )
}

function checkEntry({ kernel }: Machine, page: Page, region: Region): void {
  const entry = page.process.table.entry(page.vpn)
  must(
    entry.valid === (region.read || region.write || region.execute),
    () => `${name(page)}: its entry says valid ${entry.valid}`,
  )
  if (!entry.valid) return
  must(
    entry.frame === page.frame,
    () => `${name(page)} is in frame ${page.frame}, its entry says ${entry.frame}`,
  )
  must(!entry.write || region.write, () => `${name(page)} may be written, its region may not`)
  const use = kernel.frames.use(page.frame)
  if (entry.write && !region.shared) {
    must(
      use.pages.length === 1,
      () => `${name(page)} may be written, and ${use.pages.length} processes have it`,
    )
    must(use.source === undefined, () => `${name(page)} may be written, and ${use.source?.name} is behind it`)
    must(use.slot < 0 || kernel.disk.slot(use.slot).pages === 1, () => `${name(page)}: others have its slot`)
  }
  must(
    use.slot < 0 || page.slot === use.slot,
    () => `${name(page)} has slot ${page.slot}, its frame ${use.slot}`,
  )
}

function checkFrame({ kernel, memory }: Machine, use: FrameUse, level: number): void {
  const where = (): string => `frame ${use.frame}`
  must(!memory.isFree(use.frame), () => `${where()} holds pages and is free`)
  must(use.pages.length > 0, () => `${where()} holds no page`)
  for (const page of use.pages)
    must(
      page.frame === use.frame && page.process.pages.get(page.vpn) === page,
      () => `${where()} is ${name(page)}, which says it is in frame ${page.frame}`,
    )
  must(kernel.frames.policy(use.owner).resident(use.unit), () => `${where()}: its policy does not know it`)
  must(
    use.pages.some(page => page.process === use.owner),
    () => `${where()} counts to a process that does not have it`,
  )
  if (level < 2) return
  const dirty = use.dirty || use.pages.some(page => page.process.table.entry(page.vpn).dirty)
  if (dirty) return
  const bytes = memory.bytes(use.frame)
  const same = expected(bytes.length)
  if (use.source !== undefined) same.fill(0, use.source.backing.read(use.at, same))
  else if (use.slot >= 0) same.set(kernel.disk.slot(use.slot).bytes)
  else same.fill(0)
  for (let i = 0; i < bytes.length; i++)
    must(
      bytes[i] === same[i],
      () =>
        `${where()} is clean, but not the same as ${use.source?.name ?? (use.slot < 0 ? 'zeros' : `swap slot ${use.slot}`)}`,
    )
}

// What a frame should hold: one buffer, for a stress looks at millions of frames.
let buffer = new Uint8Array(0)

function expected(length: number): Uint8Array {
  if (buffer.length !== length) buffer = new Uint8Array(length)
  return buffer
}

function checkTlbs(machine: Machine): void {
  for (const tlb of [machine.mmu.tlb, machine.mmu.itlb])
    for (const held of tlb?.contents() ?? []) if (held !== undefined) checkHeld(machine, tlb?.name, held)
}

function checkHeld({ processes }: Machine, tlb: string | undefined, held: TlbEntry): void {
  const process = processes.get(held.process)
  const where = (): string => `${tlb}: page ${held.vpn} of process ${held.process}`
  must(process !== undefined && process.ended === undefined, () => `${where()} has ended`)
  const entry = process?.table.entry(held.vpn)
  must(entry?.valid === true && entry.frame === held.entry.frame, () => `${where()} is stale`)
  must(
    entry?.write === held.entry.write && entry.read === held.entry.read,
    () => `${where()} has other permissions`,
  )
  must(!held.entry.dirty || entry?.dirty === true, () => `${where()} is dirty, its entry is not`)
}
