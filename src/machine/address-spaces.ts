/**
 * Address spaces of processes: files and lenses that can be mapped, and the calls that change what is mapped. Pages are the kernel's (kernel.ts), what
 * a process has mapped is its list of regions (process.ts).
 */
import type { Backing } from '../backing/backing.ts'
import type { Lens } from '../lens/lens.ts'
import { through } from '../lens/through.ts'
import type { MachineConfig } from './config.ts'
import { MemoryFile, type Source } from './disk.ts'
import { hex, MachineError } from './errors.ts'
import type { Kernel } from './kernel.ts'
import type { Process, Protection, Region } from './process.ts'

export interface Mapping {
  readonly length: number
  /** Default: the lowest gap of the region for libraries and mappings. */
  readonly at?: number
  readonly name?: string
  readonly protection?: Partial<Protection>
  readonly shared?: boolean
  readonly source?: Source
  readonly offset?: number
}

export class AddressSpaces {
  readonly config: MachineConfig
  readonly #kernel: Kernel
  /** How many mappings can write a file for all, and how many lenses are over it. */
  readonly #sharedWritable = new Map<Backing, number>()
  readonly #lensed = new Map<Backing, number>()
  #sources = 0

  constructor(config: MachineConfig, kernel: Kernel) {
    this.config = config
    this.#kernel = kernel
  }

  /** A file on the machine's disk. Bytes are taken as they are, not copied. */
  file(name: string, content: Uint8Array | Backing): Source {
    const backing = content instanceof Uint8Array ? new MemoryFile(content) : content
    const id = ++this.#sources
    if (!(backing instanceof MemoryFile)) return { id, name, kind: 'file', backing }
    return {
      id,
      name,
      kind: 'file',
      backing,
      write(offset, bytes) {
        backing.write(offset, bytes)
      },
    }
  }

  /** What a lens makes of a file: to be mapped like one. */
  lens(file: Source, lens: Lens): Source {
    return {
      id: ++this.#sources,
      name: `${lens.name} of ${file.name}`,
      kind: 'lens',
      backing: through(file.backing, lens),
    }
  }

  /**
   * A process maps a region (1), or has let go of it (-1). MachineError 'process': a lens stands for bytes that stay, so its file must not change
   * under it.
   */
  holds(region: Region, change: 1 | -1): void {
    const { source } = region
    if (source === undefined) return
    const backing =
      source.kind === 'lens' ? (source.backing as ReturnType<typeof through>).backing : source.backing
    const writable = source.kind === 'file' && region.shared && region.write
    const mine = source.kind === 'lens' ? this.#lensed : writable ? this.#sharedWritable : undefined
    const theirs = source.kind === 'lens' ? this.#sharedWritable : this.#lensed
    if (mine === undefined) return
    if (change > 0 && (theirs.get(backing) ?? 0) > 0)
      throw new MachineError(
        'process',
        `${source.name} can't be mapped: a file that a lens makes pages from must not be writable through a shared mapping; unmap one of the two first`,
      )
    mine.set(backing, (mine.get(backing) ?? 0) + change)
  }

  #bounds(start: number, length: number): number {
    const { pageSize, virtualBits } = this.config
    const end = start + Math.ceil(length / pageSize) * pageSize
    if (
      !(length > 0) ||
      !Number.isInteger(start) ||
      start < 0 ||
      start % pageSize !== 0 ||
      end > 2 ** virtualBits
    )
      throw new MachineError(
        'process',
        `${length} bytes at ${hex(Math.max(0, Math.floor(start)))} are no pages of an address space of ${virtualBits} bits: start at a multiple of ${pageSize}`,
      )
    return end
  }

  /** Maps pages; the address of the first. MachineError 'process' where that is not possible. */
  mmap(process: Process, mapping: Mapping): number {
    const { pageSize, virtualBits } = this.config
    const V = 2 ** virtualBits
    const length = Math.ceil(mapping.length / pageSize) * pageSize
    const at = mapping.at ?? process.gap(Math.ceil(V / 4 / pageSize) * pageSize, length, V)
    if (at === undefined)
      throw new MachineError('process', `Process ${process.pid} has no gap of ${length} bytes; map less`)
    const end = this.#bounds(at, mapping.length)
    let { source } = mapping
    const shared = mapping.shared ?? false
    // Shared memory without a file is a file without a name.
    if (shared && source === undefined) source = this.file('shared memory', new Uint8Array(length))
    const region: Region = {
      start: at,
      end,
      name: mapping.name ?? source?.name ?? 'mapping',
      read: true,
      write: true,
      execute: false,
      ...mapping.protection,
      shared: shared && source?.kind !== 'lens',
      offset: mapping.offset ?? 0,
      ...(source === undefined ? {} : { source }),
    }
    this.holds(region, 1)
    try {
      process.add(region)
    } catch (error) {
      this.holds(region, -1)
      throw error
    }
    return at
  }

  munmap(process: Process, start: number, length: number): void {
    const end = this.#bounds(start, length)
    const before = process.regions.filter(region => region.start < end && region.end > start)
    this.#dropRange(process, start, end)
    process.cut(start, end)
    for (const region of before) this.holds(region, -1)
    for (const region of process.regions)
      if (before.some(old => region.start >= old.start && region.end <= old.end)) this.holds(region, 1)
  }

  #dropRange(process: Process, start: number, end: number): void {
    const { pageSize } = this.config
    const first = start / pageSize
    const last = end / pageSize
    if (last - first < process.pages.size) {
      for (let vpn = first; vpn < last; vpn++) {
        const page = process.pages.get(vpn)
        if (page !== undefined) this.#kernel.drop(page)
      }
    } else
      for (const page of process.pages.values())
        if (page.vpn >= first && page.vpn < last) this.#kernel.drop(page)
  }

  /**
   * The program does not need these pages any more (madvise, MADV_DONTNEED): zeros from now on, or what the file says where one is mapped. A
   * lens only explains memory, so what it made is gone too.
   */
  remove(process: Process, start: number, length: number): void {
    const { pageSize } = this.config
    const end = this.#bounds(start, length)
    this.#dropRange(process, start, end)
    for (let at = start; at < end; at += pageSize)
      if (process.regionAt(at)?.source?.kind === 'lens') this.#kernel.remove(process, at / pageSize)
  }

  /** Changes what may be done with mapped pages. */
  mprotect(process: Process, start: number, length: number, protection: Protection): void {
    const end = this.#bounds(start, length)
    const old = process.regions.filter(region => region.start < end && region.end > start)
    for (const part of process.cut(start, end)) process.add({ ...part, ...protection })
    for (const region of old) this.holds(region, -1)
    for (const region of process.regions)
      if (old.some(was => region.start >= was.start && region.end <= was.end)) this.holds(region, 1)
    for (let vpn = start / this.config.pageSize; vpn < end / this.config.pageSize; vpn++) {
      const page = process.pages.get(vpn)
      const region = page && process.regionAt(vpn * this.config.pageSize)
      if (page !== undefined && region !== undefined) this.#kernel.reprotect(page, region)
    }
  }

  /** Moves the end of the heap; what is behind it is gone. */
  brk(process: Process, end: number): void {
    const { heap } = process
    const { pageSize } = this.config
    const up = (address: number): number => Math.ceil(address / pageSize) * pageSize
    if (end < heap.start)
      throw new MachineError(
        'process',
        `The heap of process ${process.pid} begins at ${hex(heap.start)}, behind ${hex(end)}`,
      )
    const from = up(heap.end)
    const to = up(end)
    if (to < from) {
      this.#dropRange(process, to, from)
      process.cut(to, from)
    } else if (to > from) {
      const there = process.cut(heap.start, from)[0]
      const region: Region = there ?? {
        start: heap.start,
        end: heap.start,
        name: 'heap',
        read: true,
        write: true,
        execute: false,
        shared: false,
        offset: 0,
      }
      try {
        process.add({ ...region, end: to })
      } catch (error) {
        if (there !== undefined) process.add(there)
        throw error
      }
    }
    heap.end = end
  }
}
