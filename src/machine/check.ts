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

function broken(what: string): never {
  throw new Error(`lethe machine, invariant broken: ${what}`)
}

const name = (page: Page): string => `page ${page.vpn} of process ${page.process.pid}`

export function check(machine: Machine, level: 1 | 2 = 1): void {
  const { disk, frames } = machine.kernel
  const slots = new Map<number, number>()
  const inFrames = new Map<number, Page[]>()
  for (const process of machine.processes.values())
    if (process.ended === undefined) checkProcess(machine, process, slots, inFrames)
  for (const use of frames.uses()) {
    checkFrame(machine, use, level)
    const pages = inFrames.get(use.frame) ?? []
    if (use.pages.length !== pages.length || use.pages.some(page => !pages.includes(page)))
      broken(`frame ${use.frame} is ${use.pages.length} pages; ${pages.length} say that they are in it`)
  }
  if (inFrames.size !== frames.used)
    broken(`${inFrames.size} frames have pages, ${frames.used} are in the frame table`)
  for (const slot of disk.slots())
    if (disk.slot(slot).pages !== (slots.get(slot) ?? 0))
      broken(`swap slot ${slot} counts ${disk.slot(slot).pages} pages, ${slots.get(slot) ?? 0} have it`)
  for (const slot of slots.keys()) disk.slot(slot)
  checkCounts(machine)
  for (const tlb of [machine.mmu.tlb, machine.mmu.itlb])
    for (const held of tlb?.contents() ?? []) if (held !== undefined) checkHeld(machine, tlb?.name, held)
}

/** Of these pages of a process, mapped or not: whatever `check` asks, with bytes, and the counts of memory. */
export function checkPages(machine: Machine, pid: number, first: number, count: number): void {
  const process = machine.processes.get(pid)
  if (process === undefined || process.ended !== undefined) return
  const { disk, frames } = machine.kernel
  const { tlb, itlb } = machine.mmu
  for (let vpn = first; vpn < first + count; vpn++) {
    const page = process.pages.get(vpn)
    if (page !== undefined) {
      checkPage(machine, page)
      if (page.slot >= 0 && disk.slot(page.slot).pages < 1)
        broken(`${name(page)} has a slot that counts nobody`)
      if (page.frame >= 0) checkFrame(machine, frames.use(page.frame), 2)
    } else if (process.table.valid(vpn))
      broken(`page ${vpn} of process ${pid} has no record, but its entry is valid`)
    const held = tlb?.peek(pid, vpn)
    if (held !== undefined) checkHeld(machine, 'tlb', held)
    const code = itlb?.peek(pid, vpn)
    if (code !== undefined) checkHeld(machine, 'itlb', code)
  }
  checkCounts(machine)
}

function checkCounts({ config, kernel, memory, processes }: Machine): void {
  const { used } = kernel.frames
  let tables = 0
  if (config.pageTable.placement === 'frames')
    for (const process of processes.values()) if (process.ended === undefined) tables += process.table.frames
  if (memory.free + used + tables !== memory.frames)
    broken(`${memory.free} frames are free, ${used} hold pages, ${tables} tables; there are ${memory.frames}`)
  let residents = 0
  for (const policy of kernel.frames.policies().values()) residents += policy.residents
  if (residents !== used) broken(`the policies count ${residents} resident pages, memory holds ${used}`)
}

function checkProcess(
  machine: Machine,
  process: Process,
  slots: Map<number, number>,
  inFrames: Map<number, Page[]>,
): void {
  let end = 0
  for (const region of process.regions) {
    if (region.start < end || region.end <= region.start) broken(`region ${region.name} overlaps another`)
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
  if (resident !== process.resident)
    broken(`process ${process.pid} counts ${process.resident} pages in memory and has ${resident}`)
}

function checkPage(machine: Machine, page: Page): void {
  const { process, state: s, slot } = page
  const region = process.regionAt(page.vpn * machine.config.pageSize)
  if (region === undefined) broken(`${name(page)} is in no region`)
  if (page.frame >= 0) {
    if (s !== state.present && s !== state.clean) broken(`${name(page)} is in memory in state ${s}`)
    checkEntry(machine, page, region)
    return
  }
  if (process.table.valid(page.vpn)) broken(`${name(page)} is not in memory, but its entry is valid`)
  const right =
    s === state.absent
      ? slot < 0
      : s === state.virtual
        ? slot >= 0 || region.source !== undefined
        : s === state.lost
  if (!right) broken(`${name(page)} is not in memory in state ${s}, slot ${slot}`)
}

function checkEntry({ kernel }: Machine, page: Page, region: Region): void {
  const entry = page.process.table.entry(page.vpn)
  if (entry.valid !== (region.read || region.write || region.execute))
    broken(`${name(page)}: its entry says valid ${entry.valid}`)
  if (!entry.valid) return
  if (entry.frame !== page.frame)
    broken(`${name(page)} is in frame ${page.frame}, its entry says ${entry.frame}`)
  if (entry.write && !region.write) broken(`${name(page)} may be written, its region may not`)
  const use = kernel.frames.use(page.frame)
  if (entry.write && !region.shared) {
    if (use.pages.length !== 1)
      broken(`${name(page)} may be written, and ${use.pages.length} processes have it`)
    if (use.source !== undefined) broken(`${name(page)} may be written, and ${use.source.name} is behind it`)
    if (use.slot >= 0 && kernel.disk.slot(use.slot).pages !== 1) broken(`${name(page)}: others have its slot`)
  }
  if (use.slot >= 0 && page.slot !== use.slot)
    broken(`${name(page)} has slot ${page.slot}, its frame ${use.slot}`)
}

function checkFrame({ kernel, memory }: Machine, use: FrameUse, level: number): void {
  if (memory.isFree(use.frame)) broken(`frame ${use.frame} holds pages and is free`)
  if (use.pages.length === 0) broken(`frame ${use.frame} holds no page`)
  let owned = false
  let { dirty } = use
  for (const page of use.pages) {
    if (page.frame !== use.frame || page.process.pages.get(page.vpn) !== page)
      broken(`frame ${use.frame} is ${name(page)}, which says it is in frame ${page.frame}`)
    owned ||= page.process === use.owner
    if (level === 2) dirty ||= page.process.table.dirty(page.vpn)
  }
  if (!kernel.frames.policy(use.owner).resident(use.unit))
    broken(`frame ${use.frame}: its policy does not know it`)
  if (!owned) broken(`frame ${use.frame} counts to a process that does not have it`)
  if (level < 2 || dirty) return
  const bytes = memory.bytes(use.frame)
  const same = expected(bytes.length)
  if (use.source !== undefined) same.fill(0, use.source.backing.read(use.at, same))
  else if (use.slot >= 0) same.set(kernel.disk.slot(use.slot).bytes)
  else same.fill(0)
  for (let i = 0; i < bytes.length; i++)
    if (bytes[i] !== same[i])
      broken(
        `frame ${use.frame} is clean, but not the same as ${use.source?.name ?? (use.slot < 0 ? 'zeros' : `swap slot ${use.slot}`)}`,
      )
}

// What a frame should hold: one buffer, for a stress looks at millions of frames.
let buffer = new Uint8Array(0)

function expected(length: number): Uint8Array {
  if (buffer.length !== length) buffer = new Uint8Array(length)
  return buffer
}

function checkHeld({ processes }: Machine, tlb: string | undefined, held: TlbEntry): void {
  const process = processes.get(held.process)
  const where = `${tlb}: page ${held.vpn} of process ${held.process}`
  if (process === undefined || process.ended !== undefined) broken(`${where} has ended`)
  const entry = process.table.entry(held.vpn)
  if (!entry.valid || entry.frame !== held.entry.frame) broken(`${where} is stale`)
  if (entry.write !== held.entry.write || entry.read !== held.entry.read)
    broken(`${where} has other permissions`)
  if (held.entry.dirty && !entry.dirty) broken(`${where} is dirty, its entry is not`)
}
