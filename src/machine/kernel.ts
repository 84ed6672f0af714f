/**
 * The kernel of the simulated machine: page faults, and what moves pages between memory and disk.
 *
 * A fault: 1. the region of the address, or a segmentation fault. 2. May the region do that? 3. `decide`, the same function as in the
 * pager of real processes, says from the page's state what to do. 4. A frame, if one is needed; the replacement policy may send a page away
 * for it. 5. The bytes: zeros, or read from file, lens or swap by DMA. 6. The entry. Then the instruction runs again.
 *
 *   absent    never touched, or not written since: zeros
 *   virtual   not in memory; a file, a lens or a swap slot makes it again
 *   clean     in memory, and the same as what it was made from: may go without being written
 *   present   in memory and nowhere else: goes to swap (or to its file, if that mapping is shared)
 *
 * A page that was written while it was clean is found by its dirty bit, except where several pages are one frame, or a file or lens
 * is behind it: then it is write-protected, and the write is a fault that makes it the process's own.
 */
import { decide, state } from '../pager/decide.ts'
import type { AccessKind, Entry, Eviction, Fault, Transfer } from './access.ts'
import type { MachineConfig } from './config.ts'
import { Disk } from './disk.ts'
import { hex } from './errors.ts'
import { type FrameUse, Frames, type PolicyMaker } from './frames.ts'
import type { Memory } from './memory.ts'
import type { Mmu } from './mmu.ts'
import { allows, Page, type Process, type Region } from './process.ts'

/** A fault while it is being served. */
interface Service {
  readonly process: Process
  readonly now: number
  readonly steps: string[]
  readonly evictions: Eviction[]
  readonly transfers: Transfer[]
  waits: number
}

export class Kernel {
  readonly frames: Frames
  readonly disk: Disk
  readonly #config: MachineConfig
  readonly #mmu: Mmu
  readonly #memory: Memory

  constructor(config: MachineConfig, mmu: Mmu, makePolicy: PolicyMaker) {
    this.#config = config
    this.#mmu = mmu
    this.#memory = mmu.memory
    this.frames = new Frames(config, mmu.memory, makePolicy)
    this.disk = new Disk(config)
  }

  /** Serves the fault of an access. `now`: the machine's time. */
  fault(process: Process, address: number, kind: AccessKind, cause: Fault['cause'], now: number): Fault {
    const service: Service = { process, now, steps: [], evictions: [], transfers: [], waits: 0 }
    const { steps } = service
    steps.push(`the processor raises a fault: ${kind} at ${hex(address)}, ${cause}; the kernel takes over`)
    const region = process.reach(address)
    if (region === undefined) return this.#signal(service, 'no region', 'no region has this address')
    if (region.kernel) return this.#signal(service, 'not user', `${region.name} is not the process's`)
    if (!allows(region, kind))
      return this.#signal(service, 'not allowed', `${region.name} does not allow to ${kind}`)
    steps.push(`the address lies in ${region.name}, which allows to ${kind}`)
    const vpn = Math.floor(address / this.#config.pageSize)
    const page = this.page(process, vpn, region)
    switch (decide(page.state, cause === 'protected')) {
      case 'zero':
        return this.#zero(service, region, page)
      case 'refill': {
        const fault = this.#refill(service, region, page)
        if (kind !== 'write' || page.frame < 0 || process.table.entry(vpn).write) return fault
        // The page of a write does not stay what it was made from: it becomes the process's own at once.
        const { action, waits } = this.#unprotect(service, region, page)
        return { ...fault, action: action === 'copy' ? action : fault.action, waits }
      }
      case 'unprotect':
        return this.#unprotect(service, region, page)
      case 'poison':
        return this.#poison(service, 'its backing can not be read')
      default:
        throw new Error(
          `lethe machine: page ${vpn} of process ${process.pid} is in state ${page.state}, its entry says ${cause}`,
        )
    }
  }

  /** The page's record; it is made when the page is first asked for. */
  page(process: Process, vpn: number, region: Region): Page {
    let page = process.pages.get(vpn)
    if (page === undefined) {
      page = new Page(process, vpn, region.source !== undefined)
      process.pages.set(vpn, page)
    }
    return page
  }

  #end(service: Service, action: Fault['action'], cause: Fault['cause'], more: Partial<Fault> = {}): Fault {
    const { evictions, transfers, steps, waits } = service
    return { cause, action, evictions, transfers, steps, waits, cycles: this.#config.cost.fault, ...more }
  }

  #signal(service: Service, cause: Fault['cause'], why: string): Fault {
    service.steps.push(`${why}: segmentation fault`)
    return this.#end(service, 'signal', cause)
  }

  #poison(service: Service, why: string): Fault {
    service.steps.push(`${why}: bus error`)
    return this.#end(service, 'poison', 'not present')
  }

  #zero(service: Service, region: Region, page: Page): Fault {
    this.#prepare(service, page)
    const use = this.#frame(service, page, page.unit >= 0 ? page.unit : this.frames.newUnit())
    this.#forgetUnit(page)
    this.#memory.bytes(use.frame).fill(0)
    service.steps.push(`frame ${use.frame} is filled with zeros`)
    this.#join(use, page, region, state.present)
    service.steps.push('the entry is made valid; the instruction runs again')
    return this.#end(service, 'zero', 'not present', { from: 'zero' })
  }

  #refill(service: Service, region: Region, page: Page): Fault {
    const { steps } = service
    this.#prepare(service, page)
    const source = page.slot >= 0 ? undefined : region.source
    const at =
      source === undefined ? page.slot : region.offset + page.vpn * this.#config.pageSize - region.start
    const from = source?.name ?? 'swap'
    const there = this.frames.holding(source, at, page.slot)
    if (there !== undefined) {
      steps.push(`${from} at ${at} is in frame ${there.frame} already`)
      service.waits = Math.max(service.waits, there.readyAt - service.now)
      this.#join(there, page, region, state.clean)
      this.#protectAll(there)
      steps.push('the entry is made valid; the instruction runs again')
      return this.#end(service, 'share', 'not present', { from, at })
    }
    if (source !== undefined && at >= source.backing.size)
      return this.#poison(service, `${from} ends at ${source.backing.size}, before ${at}`)
    const unit = source === undefined ? this.disk.slot(page.slot).unit : this.frames.unitOf(source, at)
    const use = this.#frame(service, page, unit)
    const bytes = this.#memory.bytes(use.frame)
    if (source === undefined) bytes.set(this.disk.slot(page.slot).bytes)
    else {
      try {
        bytes.fill(0, source.backing.read(at, bytes))
      } catch (error) {
        page.state = state.lost
        use.pages.push(page)
        this.frames.leave(use, page)
        return this.#poison(service, (error as Error).message)
      }
    }
    this.#transfer(service, 'read', from, at, use.frame)
    use.readyAt = service.now + service.waits
    this.frames.name(use, source, at, page.slot)
    this.#join(use, page, region, state.clean)
    steps.push('the entry is made valid; the instruction runs again')
    return this.#end(service, 'refill', 'not present', { from, at })
  }

  #unprotect(service: Service, region: Region, page: Page): Fault {
    const { steps } = service
    const use = this.frames.use(page.frame)
    if (use.pages.length === 1) {
      // The frame is this page's own from now on; what it was the same as stays where it is.
      this.#own(service, use)
      this.#enter(use, page, region)
      steps.push('the page becomes the process’s own, and writable; the instruction runs again')
      return this.#end(service, 'unprotect', 'protected')
    }
    steps.push(`frame ${use.frame} is shared by ${use.pages.length} processes: copy on write`)
    const bytes = this.#memory.bytes(use.frame).slice()
    this.#leaveFrame(use, page)
    this.#leaveSlot(page)
    const unit = this.frames.newUnit()
    const copy = this.#frame(service, page, unit)
    this.#memory.bytes(copy.frame).set(bytes)
    copy.dirty = true
    page.own = true
    this.#join(copy, page, region, state.present)
    steps.push(`its bytes are copied to frame ${copy.frame}, which is writable; the instruction runs again`)
    return this.#end(service, 'copy', 'protected')
  }

  // --- frames ---

  /** Makes the tables that the page's entry needs, before anything is taken for the page itself. */
  #prepare(service: Service, page: Page): void {
    const { process, vpn } = page
    process.table.slot(vpn, true, () => this.frames.reclaim(process, gone => this.#evict(service, gone)))
  }

  #frame(service: Service, page: Page, unit: number): FrameUse {
    const use = this.frames.take(page.process, page.vpn, unit, gone => this.#evict(service, gone))
    service.steps.push(`frame ${use.frame} is taken`)
    return use
  }

  #transfer(
    service: Service,
    direction: Transfer['direction'],
    device: string,
    at: number,
    frame: number,
  ): void {
    const cycles = this.disk.transfer(service.now)
    service.waits = Math.max(service.waits, cycles)
    service.transfers.push({ direction, device, at, frame, cycles })
    service.steps.push(
      direction === 'read'
        ? `the disk reads ${device} at ${at} into frame ${frame}; meanwhile others can run`
        : `the disk writes frame ${frame} to ${device} at ${at}`,
    )
  }

  /** A page's entry points to this frame. */
  #join(use: FrameUse, page: Page, region: Region, to: number): void {
    use.pages.push(page)
    page.frame = use.frame
    page.state = to
    page.process.resident++
    this.#enter(use, page, region)
  }

  /** Writes the entry of a page that is in memory. */
  #enter(use: FrameUse, page: Page, region: Region): void {
    const { process, vpn } = page
    const was = process.table.entry(vpn)
    if (was.valid && was.dirty) use.dirty ||= !region.read && !region.write && !region.execute
    const entry: Entry = {
      valid: region.read || region.write || region.execute,
      frame: use.frame,
      read: region.read,
      write: region.write && this.#writable(use, region),
      execute: region.execute,
      user: true,
      referenced: was.valid && was.referenced,
      dirty: was.valid && was.dirty,
    }
    process.table.set(vpn, entry)
    this.#mmu.shootDown(process.pid, vpn)
  }

  /** Whether the hardware may let a process write to this frame without asking. */
  #writable(use: FrameUse, region: Region): boolean {
    if (region.shared) return true
    return use.pages.length === 1 && use.source === undefined && this.#slotIsOurs(use)
  }

  #slotIsOurs(use: FrameUse): boolean {
    return use.slot < 0 || this.disk.slot(use.slot).pages === 1
  }

  /** After a frame has got another page: who could write it may no longer. */
  #protectAll(use: FrameUse): void {
    for (const page of use.pages) {
      const region = page.process.regionAt(page.vpn * this.#config.pageSize)
      if (region !== undefined) this.#enter(use, page, region)
    }
  }

  /** What was written counts from now on, whatever becomes of the entries: the pages are no longer what a swap slot holds. */
  #settle(use: FrameUse): void {
    for (const page of use.pages) if (page.process.table.dirty(page.vpn)) use.dirty = true
    if (!use.dirty || use.source !== undefined) return
    let shared = false
    for (const page of use.pages) {
      shared = this.#leaveSlot(page) || shared
      page.state = state.present
      page.own = true
    }
    this.frames.name(use, undefined, 0, -1)
    if (shared) this.frames.renew(use)
  }

  /** The only page of a frame parts from what it was made from. */
  #own(service: Service, use: FrameUse): void {
    const page = use.pages[0] as Page
    if (use.source !== undefined && use.dirty) {
      use.source.write?.(use.at, this.#memory.bytes(use.frame))
      this.#transfer(service, 'write', use.source.name, use.at, use.frame)
    }
    const others = this.#leaveSlot(page) || use.source !== undefined
    this.frames.name(use, undefined, 0, -1)
    if (others) this.frames.renew(use)
    use.dirty = true
    page.own = true
    page.state = state.present
  }

  #forgetUnit(page: Page): void {
    if (page.unit >= 0) this.frames.releaseUnit(page.unit)
    page.unit = -1
  }

  /** Whether others still have the slot. */
  #leaveSlot(page: Page): boolean {
    if (page.slot < 0) return false
    const unit = this.disk.refer(page.slot, -1)
    page.slot = -1
    if (unit >= 0) this.frames.releaseUnit(unit)
    return unit < 0
  }

  /** A page's entry no longer points to its frame. */
  #leaveFrame(use: FrameUse, page: Page): boolean {
    const { process, vpn } = page
    if (process.table.dirty(vpn)) use.dirty = true
    process.table.clear(vpn)
    this.#mmu.shootDown(process.pid, vpn)
    page.frame = -1
    process.resident--
    const free = this.frames.leave(use, page)
    if (!free && use.owner === process)
      this.frames.inherit(use, gone => this.#evict(this.#quiet(process), gone))
    return free
  }

  #quiet(process: Process): Service {
    return { process, now: 0, steps: [], evictions: [], transfers: [], waits: 0 }
  }

  /** A frame's contents leave memory; the frame itself is freed by who asked. */
  #evict(service: Service, use: FrameUse): void {
    const { steps } = service
    const pages = use.pages.map(page => ({ process: page.process.pid, vpn: page.vpn }))
    for (const page of use.pages) if (page.process.table.dirty(page.vpn)) use.dirty = true
    const dirty = use.dirty
    const bytes = this.#memory.bytes(use.frame)
    const names = pages.map(page => `page ${page.vpn} of process ${page.process}`).join(', ')
    steps.push(`frame ${use.frame} has to go: ${names}, ${dirty ? 'dirty' : 'clean'}`)
    let slot = use.slot
    if (use.source !== undefined) {
      if (dirty) {
        use.source.write?.(use.at, bytes)
        this.#transfer(service, 'write', use.source.name, use.at, use.frame)
      }
    } else if (dirty) {
      if (slot < 0) {
        slot = this.disk.writeNew(bytes, use.unit)
        this.frames.holdUnit(use.unit)
      } else this.disk.slot(slot).bytes.set(bytes)
      this.#transfer(service, 'write', 'swap', slot, use.frame)
    }
    for (const page of use.pages) {
      page.process.table.clear(page.vpn)
      this.#mmu.shootDown(page.process.pid, page.vpn)
      page.process.resident--
      page.frame = -1
      page.state = use.source === undefined && slot < 0 ? state.absent : state.virtual
      if (page.state === state.absent && use.pages.length === 1) {
        page.unit = use.unit
        this.frames.holdUnit(use.unit)
      }
      if (slot >= 0 && page.slot < 0) {
        page.slot = slot
        page.own = true
        this.disk.refer(slot, 1)
      }
    }
    service.evictions.push({
      pages,
      frame: use.frame,
      dirty,
      ...(slot < 0 ? {} : { slot }),
      ...(use.source === undefined ? {} : { from: use.source.name }),
    })
    use.pages.length = 0
  }

  // --- what the machine's calls need ---

  /** The page and what it holds are gone: unmapped, or its process has ended. */
  drop(page: Page): void {
    if (page.frame >= 0) {
      const use = this.frames.use(page.frame)
      const { source, at } = use
      const bytes = source === undefined ? undefined : this.#memory.bytes(use.frame).slice()
      const last = this.#leaveFrame(use, page)
      if (last && bytes !== undefined && use.dirty) source?.write?.(at, bytes)
    }
    this.#leaveSlot(page)
    this.#forgetUnit(page)
    page.process.pages.delete(page.vpn)
    page.process.table.trim(page.vpn)
  }

  /** A child's copy of a page: the same frame, or the same slot. */
  inherit(page: Page, child: Page, region: Region): void {
    // The child's tables first: they may cost a frame, perhaps this page's.
    if (page.frame >= 0) this.#prepare(this.#quiet(child.process), child)
    child.own = page.own
    child.lastUse = page.lastUse
    const use = page.frame < 0 ? undefined : this.frames.use(page.frame)
    if (use !== undefined && !region.shared) this.#settle(use)
    if (page.slot >= 0) {
      child.slot = page.slot
      this.disk.refer(page.slot, 1)
    }
    child.state = page.state
    if (use === undefined) return
    this.#join(use, child, region, page.state)
    if (!region.shared) this.#protectAll(use)
  }

  /** After a region's permissions have changed. */
  reprotect(page: Page, region: Region): void {
    if (page.frame < 0) return
    // While nothing was allowed there was no entry, and its table may have gone. A new one may cost a frame, perhaps this page's.
    if (region.read || region.write || region.execute) this.#prepare(this.#quiet(page.process), page)
    if (page.frame >= 0) this.#enter(this.frames.use(page.frame), page, region)
  }

  /** Sends one page away, as if another needed its place; what happened. undefined if there is none in memory. */
  reclaim(process: Process, now: number): Eviction | undefined {
    const service = { ...this.#quiet(process), now }
    this.frames.reclaim(process, gone => this.#evict(service, gone))
    return service.evictions[0]
  }

  /** Drops a clean page: its frame is free, what it was made from makes it again. False if it is not clean. */
  release(page: Page, now: number): boolean {
    if (page.frame < 0 || page.state !== state.clean) return false
    const use = this.frames.use(page.frame)
    if (use.dirty || use.pages.some(({ process, vpn }) => process.table.dirty(vpn))) return false
    const service = { ...this.#quiet(page.process), now }
    this.frames.send(use, gone => this.#evict(service, gone))
    return true
  }

  /** The program has removed a page of memory that only a lens explains: zeros from now on. */
  remove(process: Process, vpn: number): void {
    const page = new Page(process, vpn, false)
    page.own = true
    process.pages.set(vpn, page)
  }

  /** A reference to a page in memory, for the policy and for working sets. */
  touch(page: Page, index: number): void {
    page.lastUse = index
    this.frames.touch(this.frames.use(page.frame))
  }
}
