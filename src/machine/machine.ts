/**
 * The simulated machine, whole: processor, MMU, caches, memory, disk, and a kernel with processes. Read in this order: access.ts (the record
 * of one access), this file, mmu.ts (hardware), kernel.ts (page faults).
 *
 *   const machine = new Machine({ preset: 'p6', frames: 64 })
 *   const shell = machine.spawn('sh', { text: 4096, data: new Uint8Array(4096) })
 *   const [access] = machine.store(shell.pid, shell.heap.start, bytes)
 *
 * Or processes are given programs (`run`), and `step()` yields access after access, of whichever process can run: one that waits for
 * the disk lets others go on. Time is counted in cycles. Nothing here needs an operating system: it runs in a browser as well.
 */
import { createPolicy, isPolicyName, policyNames } from '../policy/index.ts'
import { state } from '../pager/decide.ts'
import type { Backing } from '../backing/backing.ts'
import type { Lens } from '../lens/lens.ts'
import type { Access, AccessKind, Eviction, Verdict } from './access.ts'
import { AddressSpaces, type Mapping } from './address-spaces.ts'
import type { MachineConfig } from './config.ts'
import { entryFormat, machineConfig } from './configure.ts'
import { count, type Counters, counters } from './counters.ts'
import type { Source } from './disk.ts'
import { hex, MachineError } from './errors.ts'
import { Kernel } from './kernel.ts'
import { type Image, layOut } from './layout.ts'
import { Memory } from './memory.ts'
import { Mmu } from './mmu.ts'
import { PageTable } from './page-table.ts'
import { Page, Process, type Protection, type Region } from './process.ts'

/** A reference that a program makes. */
export interface Reference {
  readonly kind: AccessKind
  readonly address: number
  readonly size?: number
  /** What a write stores; else a byte that counts up. */
  readonly data?: Uint8Array
}

export class Machine {
  readonly config: MachineConfig
  readonly mmu: Mmu
  readonly kernel: Kernel
  readonly memory: Memory
  readonly processes: Map<number, Process> = new Map()
  readonly counters: Counters = counters()
  /** Time, in cycles. */
  clock = 0
  /** Cycles in which no process could run. */
  idle = 0
  contextSwitches = 0
  /** Whether a segmentation fault or a bus error ends the process, as it does unless a program handles the signal. */
  signalsEnd = true
  readonly #programs = new Map<number, Iterator<Reference>>()
  readonly #spaces: AddressSpaces
  #current: Process | undefined
  #pids = 0
  #stored = 0

  constructor(config: object = {}) {
    this.config = machineConfig(config)
    const { policy } = this.config
    if (!isPolicyName(policy))
      throw new MachineError('config', `policy is "${policy}": there are ${policyNames.join(', ')}`)
    const format = entryFormat(this.config)
    if (this.config.translation && (format.write === undefined || format.dirty === undefined))
      throw new MachineError(
        'config',
        'pageTable.entry has no write bit or no dirty bit: processes need both; take another format',
      )
    this.memory = new Memory(this.config)
    this.mmu = new Mmu(this.config, this.memory)
    this.kernel = new Kernel(this.config, this.mmu, (_, frames, seed) =>
      createPolicy(policy, frames, { seed }),
    )
    this.#spaces = new AddressSpaces(this.config, this.kernel)
  }

  // --- processes ---

  /** The process that runs. */
  get current(): Process | undefined {
    return this.#current
  }

  process(pid: number): Process {
    const process = this.processes.get(pid)
    if (process === undefined || process.ended !== undefined)
      throw new MachineError(
        'process',
        process === undefined ? `There is no process ${pid}` : `Process ${pid} has ended: ${process.ended}`,
      )
    return process
  }

  #newProcess(name: string, parent: number): Process {
    const pid = ++this.#pids
    const { config, memory, kernel } = this
    // A table for an address space of which nobody has pages yet may have to push out pages of others.
    const other = this.#current ?? [...this.processes.values()].find(p => p.ended === undefined)
    let wrote = false
    const room = (): boolean => {
      const gone = other === undefined ? undefined : kernel.reclaim(other, this.clock)
      wrote ||= gone !== undefined
      return gone !== undefined
    }
    const table = new PageTable(config, memory, undefined, room)
    // What had to go for the table is written before the process begins.
    if (wrote) this.#idleUntil(kernel.disk.idleFrom)
    const process = new Process(pid, name, parent, table, config.pageSize)
    this.processes.set(pid, process)
    return process
  }

  /** A new process with the lecture's layout; see layout.ts. */
  spawn(name: string, image: Image = {}): Process {
    const process = this.#newProcess(name, 0)
    layOut(this.#spaces, process, image)
    return process
  }

  /** A process all of whose addresses may be touched: for traces, which do not say what is mapped. */
  open(name: string, source?: Source): Process {
    const process = this.#newProcess(name, 0)
    process.add({
      start: 0,
      end: 2 ** this.config.virtualBits,
      name: source?.name ?? 'memory',
      read: true,
      write: true,
      execute: true,
      shared: false,
      offset: 0,
      ...(source === undefined ? {} : { source }),
    })
    return process
  }

  /** A copy of a process, page by page the same until one of the two writes. */
  fork(pid: number): Process {
    const parent = this.process(pid)
    const child = this.#newProcess(parent.name, pid)
    child.regions = [...parent.regions]
    child.heap = { ...parent.heap }
    for (const region of child.regions) this.#spaces.holds(region, 1)
    for (const page of parent.pages.values()) {
      const region = parent.regionAt(page.vpn * this.config.pageSize) as Region
      const copy = new Page(child, page.vpn, region.source !== undefined)
      child.pages.set(page.vpn, copy)
      this.kernel.inherit(page, copy, region)
    }
    return child
  }

  /** Ends a process; everything that only it had is free. */
  exit(pid: number, why = 'it has exited'): void {
    const process = this.process(pid)
    for (const page of process.pages.values()) this.kernel.drop(page)
    for (const region of process.regions) this.#spaces.holds(region, -1)
    process.regions = []
    process.table.release()
    this.mmu.forget(pid)
    this.kernel.frames.forget(process)
    process.ended = why
    this.#programs.delete(pid)
    if (this.#current === process) this.#current = undefined
  }

  /** Makes a process the one that runs. */
  switchTo(pid: number): void {
    const process = this.process(pid)
    if (process === this.#current) return
    if (this.#current !== undefined) {
      this.contextSwitches++
      this.clock += this.config.cost.contextSwitch
    }
    this.mmu.switchTo()
    this.#current = process
  }

  // --- address spaces: see address-spaces.ts ---

  /** A file on the machine's disk. Bytes are taken as they are, not copied. */
  file(name: string, content: Uint8Array | Backing): Source {
    return this.#spaces.file(name, content)
  }

  /** What a lens makes of a file: to be mapped like one. */
  lens(file: Source, lens: Lens): Source {
    return this.#spaces.lens(file, lens)
  }

  /** Maps pages; the address of the first. MachineError 'process' where that is not possible. */
  mmap(pid: number, mapping: Mapping): number {
    return this.#spaces.mmap(this.process(pid), mapping)
  }

  munmap(pid: number, start: number, length: number): void {
    this.#spaces.munmap(this.process(pid), start, length)
  }

  /**
   * The program does not need these pages any more (madvise, MADV_DONTNEED): zeros from now on, or what the file says where one is mapped. A
   * lens only explains memory, so what it made is gone too.
   */
  remove(pid: number, start: number, length: number): void {
    this.#spaces.remove(this.process(pid), start, length)
  }

  /** Drops one page that a file, a lens or swap makes again; whether it was clean, and so could be dropped. */
  drop(pid: number, address: number): boolean {
    const page = this.process(pid).pages.get(Math.floor(address / this.config.pageSize))
    return page !== undefined && this.kernel.release(page, this.clock)
  }

  /** Changes what may be done with mapped pages. */
  mprotect(pid: number, start: number, length: number, protection: Protection): void {
    this.#spaces.mprotect(this.process(pid), start, length, protection)
  }

  /** Moves the end of the heap; what is behind it is gone. */
  brk(pid: number, end: number): void {
    this.#spaces.brk(this.process(pid), end)
  }

  // --- accesses ---

  /** One access; where it crosses a page's border, one record for each page. */
  access(pid: number, reference: Reference): Access[] {
    const out: Access[] = []
    this.#each(pid, reference, access => out.push(access))
    return out
  }

  #each(pid: number, reference: Reference, done: (access: Access) => void): void {
    const process = this.process(pid)
    const { address, size = 1 } = reference
    const { pageSize } = this.config
    for (let at = address; at < address + size; ) {
      const end = Math.min(address + size, at - (at % pageSize) + pageSize)
      done(this.#one(process, reference, at, end - at))
      if (process.ended !== undefined) break
      at = end
    }
  }

  #one(process: Process, reference: Reference, address: number, size: number): Access {
    const { kind } = reference
    const { config, mmu, kernel } = this
    const { vpn, vpo } = mmu.split(address)
    this.switchTo(process.pid)
    this.waitFor(process.pid)
    const index = this.counters.accesses + 1
    const head = { type: 'access' as const, index, process: process.pid, kind, address, size, vpn, vpo }
    if (!config.translation) {
      const reached = mmu.caches.access(kind, address, size)
      const access: Access = {
        ...head,
        walk: [],
        ppn: vpn,
        physical: address,
        caches: reached.looks,
        cycles: reached.cycles,
        verdict: 'hit',
      }
      return this.#finish(process, access, 0)
    }
    const first = mmu.translate(process.pid, process.table, kind, vpn)
    const look = first.tlb === undefined ? {} : { tlb: first.tlb }
    let { frame, cycles } = first
    let verdict: Verdict = 'hit'
    let fault: Access['fault']
    if (first.cause !== undefined) {
      fault = kernel.fault(process, address, kind, first.cause, this.clock + cycles)
      cycles += fault.cycles + fault.waits
      if (fault.action === 'signal' || fault.action === 'poison') {
        verdict = fault.action === 'signal' ? 'segmentation fault' : 'bus error'
        const access: Access = { ...head, ...look, walk: first.walk, fault, caches: [], cycles, verdict }
        return this.#finish(process, access, fault.waits)
      }
      verdict = fault.transfers.some(transfer => transfer.direction === 'read')
        ? 'major fault'
        : 'minor fault'
      frame = mmu.complete(process.pid, process.table, kind, vpn, first.tlb)
    }
    const page = process.pages.get(vpn) as Page
    kernel.touch(page, index)
    const physical = frame * config.pageSize + vpo
    const reached = mmu.caches.access(kind, physical, size)
    const bytes = this.memory.bytes(frame)
    if (kind === 'write') this.#store(bytes, vpo, size, reference, address)
    const use = kernel.frames.use(frame)
    const access: Access = {
      ...head,
      ...look,
      walk: first.walk,
      ...(fault === undefined ? {} : { fault }),
      ppn: frame,
      physical,
      caches: reached.looks,
      ...(use.source?.kind === 'lens' ? { lens: use.source.name } : {}),
      ...(use.slot < 0 ? {} : { slot: use.slot }),
      value: bytes[vpo] as number,
      cycles: cycles + reached.cycles,
      verdict,
    }
    return this.#finish(process, access, fault?.waits ?? 0)
  }

  #store(bytes: Uint8Array, at: number, size: number, reference: Reference, address: number): void {
    const { data } = reference
    if (data !== undefined)
      bytes.set(data.subarray(address - reference.address, address - reference.address + size), at)
    else bytes.fill(++this.#stored & 0xff, at, at + size)
  }

  #finish(process: Process, access: Access, waits: number): Access {
    this.clock += access.cycles - waits
    if (waits > 0) process.readyAt = this.clock + waits
    count(this.counters, access)
    if (this.signalsEnd && (access.verdict === 'segmentation fault' || access.verdict === 'bus error'))
      this.exit(process.pid, `${access.verdict}: ${access.kind} at ${hex(access.address)}`)
    return access
  }

  /** Reads bytes as the process sees them. */
  load(pid: number, address: number, size: number): { bytes: Uint8Array; accesses: Access[] } {
    const bytes = new Uint8Array(size)
    const accesses: Access[] = []
    this.#each(pid, { kind: 'read', address, size }, access => {
      accesses.push(access)
      if (access.ppn === undefined) return
      // At once: the next page may take this one's frame.
      const held = this.memory.bytes(access.ppn)
      bytes.set(held.subarray(access.vpo, access.vpo + access.size), access.address - address)
    })
    return { bytes, accesses }
  }

  store(pid: number, address: number, data: Uint8Array): Access[] {
    return this.access(pid, { kind: 'write', address, size: data.length, data })
  }

  /** Sends one page of memory away, as replacement would: the next of this process's policy. */
  reclaim(pid: number): Eviction | undefined {
    return this.kernel.reclaim(this.process(pid), this.clock)
  }

  /** The processor is idle until the process can run again. */
  waitFor(pid: number): void {
    this.#idleUntil(this.process(pid).readyAt)
  }

  #idleUntil(time: number): void {
    if (time <= this.clock) return
    this.idle += time - this.clock
    this.clock = time
  }

  // --- programs ---

  /** Gives a process what it is to do when `step` lets it. */
  run(pid: number, program: Iterable<Reference>): void {
    this.#programs.set(this.process(pid).pid, program[Symbol.iterator]())
  }

  /**
   * Runs the programs, round robin: `quantum` references each, less if the process has to wait for the disk. Ends when all programs
   * have. A process that is alone waits, and the processor is idle.
   */
  *step(quantum = 100): Generator<Access, void> {
    while (this.#programs.size > 0) {
      let ran = false
      for (const [pid, program] of this.#programs) {
        const process = this.processes.get(pid) as Process
        if (process.readyAt > this.clock) continue
        ran = true
        for (let i = 0; i < quantum && process.readyAt <= this.clock; i++) {
          const next = program.next()
          if (next.done === true) {
            this.#programs.delete(pid)
            break
          }
          yield* this.access(pid, next.value)
          if (process.ended !== undefined) break
        }
      }
      if (ran || this.#programs.size === 0) continue
      const soonest = Math.min(
        ...[...this.#programs.keys()].map(pid => this.processes.get(pid)?.readyAt ?? 0),
      )
      this.#idleUntil(soonest)
    }
  }

  /** Pages that a process has touched in its last `window` accesses of the machine: its working set. */
  workingSet(pid: number, window: number): number {
    let pages = 0
    for (const page of this.process(pid).pages.values())
      if (page.lastUse > 0 && page.lastUse > this.counters.accesses - window) pages++
    return pages
  }

  /** How a page of a process stands now; 'absent' for one that was never touched. */
  pageState(pid: number, vpn: number): keyof typeof state {
    const process = this.process(pid)
    const page = process.pages.get(vpn)
    const region = process.regionAt(vpn * this.config.pageSize)
    if (region === undefined) return 'none'
    const now = page?.state ?? (region.source === undefined ? state.absent : state.virtual)
    return (Object.keys(state) as (keyof typeof state)[]).find(name => state[name] === now) ?? 'none'
  }
}
