/**
 * A trace, fast: the same machine as machine.ts, counted and not recorded.
 *
 * TLBs, walks and caches run in WebAssembly (src/kernels/assembly/machine.ts), record after record. A page that is not there stops them; then
 * the kernel's part happens here: a frame, if need be another page's, swap, tables; and they go on where they were. A trace does not say
 * what is mapped, so every address is memory of zeros; and it does not say what others do meanwhile, so whoever waits for the disk waits alone.
 *
 * Policies want to know every reference. FIFO does not, and LRU's order can be had from the time of each frame's last use; for the others the
 * hardware notes the frames that it touches. LRU too is told once memory is full.
 */
import { type MachineExports, machineKernel } from '../kernels/machine.ts'
import { createPolicy, isPolicyName, NONE, type Policy, policyNames } from '../policy/index.ts'
import { reach } from './cache.ts'
import type { CacheConfig, MachineConfig, Replacement, TlbConfig } from './config.ts'
import { entryFormat } from './configure.ts'
import { type CacheCounters, type Counters, counters } from './counters.ts'
import { hex, MachineError } from './errors.ts'
import { Memory } from './memory.ts'
import { PageTable } from './page-table.ts'
import { kinds } from './trace.ts'

const policies: readonly Replacement[] = ['lru', 'fifo', 'plru', 'random']
const chunk = 16_384
const start = 65_536
const processShift = 40n
const levelShift = 60n

/** A page that the trace has touched. */
interface TracePage {
  readonly process: number
  readonly vpn: number
  frame: number
  /** It has been written to swap before. */
  swapped: boolean
  readonly unit: number
}

type ByKind = readonly [reads: number, writes: number, fetches: number, others: number]

/** What references to one cache came to. */
export interface CacheCounts {
  readonly references: ByKind
  readonly misses: ByKind
  readonly evictions: number
  readonly writeBacks: number
  /** Lines that a reference went on in. */
  readonly otherLines: number
  /** From the next level, and to it. */
  readonly bytesRead: number
  readonly bytesWritten: number
}

export class TraceEngine {
  readonly config: MachineConfig
  readonly #wasm: MachineExports
  readonly #memory: Memory
  readonly #tables = new Map<number, PageTable>()
  readonly #pages: TracePage[] = []
  readonly #byKey = new Map<number, TracePage>()
  /** The page in each frame. */
  readonly #inFrame: (TracePage | undefined)[] = []
  readonly #policy: Policy
  readonly #records: number
  readonly #out: number
  readonly #stamps: number
  readonly #dirty: number
  readonly #sums: number
  readonly #tlbs: readonly number[]
  readonly #caches = new Map<string, number>()
  /** The first cache for data; 0: none. */
  readonly #data: number
  readonly #rest: Counters = counters()
  #buffer: ArrayBuffer | undefined
  #words = new Uint32Array(0)
  #touches: boolean
  #told: boolean
  #process = 0
  #swap = 0
  #done = 0
  #waits = 0
  contextSwitches = 0

  constructor(config: MachineConfig) {
    this.config = config
    if (!isPolicyName(config.policy))
      throw new MachineError('config', `policy is "${config.policy}": there are ${policyNames.join(', ')}`)
    if (config.frames > 2 ** 26)
      throw new MachineError('config', `frames is ${config.frames}: traces run with ${2 ** 26} at most`)
    if (config.pageSize < 8 && config.translation)
      throw new MachineError(
        'config',
        `pageSize is ${config.pageSize}: traces run with pages of 8 bytes or more`,
      )
    this.#memory = new Memory(config)
    this.#policy = createPolicy(config.policy, config.frames, { seed: config.seed })
    this.#touches = !['lru', 'fifo'].includes(config.policy)
    this.#told = this.#touches
    this.#wasm = machineKernel()
    let top = start
    const take = (bytes: number): number => {
      const at = top
      top += Math.ceil(bytes / 64) * 64
      return at
    }
    this.#records = take(chunk * 8)
    // A record can touch as many pages as its 4095 bytes have.
    const most = chunk * (2 + Math.ceil(4095 / config.pageSize))
    this.#out = take(most * 4)
    this.#sums = take(256)
    const levelTable = take(64)
    const stamps = take(config.frames * 8)
    this.#stamps = stamps
    this.#dirty = take(config.frames)
    const places = { take, descriptors: [] as (() => void)[] }
    const [data, code] = this.#makeCaches(places)
    this.#data = data
    const tlb = config.translation && config.tlb !== null ? this.#makeTlb(config.tlb, places) : 0
    const itlb = config.translation && config.itlb !== null ? this.#makeTlb(config.itlb, places) : 0
    this.#tlbs = [tlb, itlb].filter(at => at !== 0)
    const missing = Math.ceil((top - this.#wasm.memory.buffer.byteLength) / 65_536)
    if (missing > 0) this.#wasm.memory.grow(missing)
    for (const make of places.descriptors) make()
    const levels = config.pageTable.levels
    levels.forEach((bits, i) => {
      const below = levels.slice(i + 1).reduce((a, b) => a + b, 0)
      this.#word(levelTable + i * 8, below)
      this.#word(levelTable + i * 8 + 4, bits >= 32 ? 0xffffffff : 2 ** bits - 1)
    })
    this.#wasm.setup(
      config.translation ? 1 : 0,
      Math.log2(config.pageSize),
      config.translation ? config.virtualBits : config.physicalBits,
      tlb,
      itlb,
      data,
      code,
      config.caches.length,
      levels.length,
      entryFormat(config).bytes,
      config.pageTable.cached && config.pageTable.placement === 'frames' ? 1 : 0,
      levelTable,
      this.#sums,
      this.#stamps,
      this.#dirty,
      this.#touches ? this.#out : 0,
      top,
    )
    this.#enter(1)
  }

  #word(at: number, value: number): void {
    new DataView(this.#wasm.memory.buffer).setUint32(at, value, true)
  }

  #makeCaches(places: { take: (bytes: number) => number; descriptors: (() => void)[] }): [number, number] {
    let data = 0
    let code = 0
    const make = (name: string, level: number, cache: CacheConfig, next: number): number => {
      const d = places.take(192)
      const lines = cache.size / cache.line
      const keys = places.take(lines * 8)
      const tree = cache.policy === 'plru' ? places.take(lines) : 0
      this.#caches.set(name, d)
      places.descriptors.push(() => {
        const words = [
          Math.log2(cache.line),
          lines / cache.ways - 1,
          cache.ways,
          policies.indexOf(cache.policy),
          cache.write === 'back' ? 1 : 0,
          cache.allocate ? 1 : 0,
          next,
          keys,
          tree,
          cache.seed >>> 0 || 0x9e3779b9,
          level,
        ]
        words.forEach((word, i) => this.#word(d + i * 4, word))
        new Uint8Array(this.#wasm.memory.buffer, keys, lines * 8).fill(0xff)
      })
      return d
    }
    const { caches } = this.config
    for (let i = caches.length - 1; i >= 0; i--) {
      const level = caches[i] as MachineConfig['caches'][number]
      if (level.unified) {
        data = make(`L${i + 1}`, i, level.unified, data)
        code = data
      } else {
        code = make(`L${i + 1}i`, i, level.instruction as CacheConfig, code)
        data = make(`L${i + 1}d`, i, level.data as CacheConfig, data)
      }
    }
    return [data, code]
  }

  #makeTlb(tlb: TlbConfig, places: { take: (bytes: number) => number; descriptors: (() => void)[] }): number {
    const d = places.take(128)
    const entries = places.take(tlb.entries * 16)
    const tree = tlb.policy === 'plru' ? places.take(tlb.entries) : 0
    places.descriptors.push(() => {
      const words = [
        tlb.entries / tlb.ways - 1,
        tlb.ways,
        policies.indexOf(tlb.policy),
        entries,
        tree,
        tlb.seed >>> 0 || 0x9e3779b9,
      ]
      words.forEach((word, i) => this.#word(d + i * 4, word))
      this.#wasm.tlbFlush(d)
    })
    return d
  }

  /** Runs records; a Sink. MachineError 'range' for an address that the machine does not have. */
  run(words: Uint32Array, count: number): void {
    for (let done = 0; done < count; done += chunk) {
      const n = Math.min(chunk, count - done)
      const { buffer } = this.#wasm.memory
      if (this.#buffer !== buffer) {
        this.#buffer = buffer
        this.#words = new Uint32Array(buffer, this.#records, chunk * 2)
      }
      this.#words.set(words.subarray(done * 2, (done + n) * 2))
      const good = this.#chunk(n, false)
      if (good < n) throw this.#range(good)
      this.#done += n
    }
  }

  /**
   * Runs records as a file has them, Dinero's or ours, without decoding them before. How many bytes of them: what follows is no record, or is
   * out of range, or is not whole.
   */
  runBytes(bytes: Uint8Array, dinero: boolean): number {
    const whole = Math.floor(bytes.length / 8)
    for (let done = 0; done < whole; done += chunk) {
      const n = Math.min(chunk, whole - done)
      new Uint8Array(this.#wasm.memory.buffer, this.#records).set(bytes.subarray(done * 8, (done + n) * 8))
      const good = this.#chunk(n, dinero)
      this.#done += good
      if (good < n) return (done + good) * 8
    }
    return whole * 8
  }

  /** Records of the buffer up to one that can't be run: how many. */
  #chunk(n: number, dinero: boolean): number {
    for (let at = 0; ; ) {
      at = this.#wasm.run(this.#records, at, n, dinero ? 1 : 0)
      if (this.#told) this.#tell()
      if (at === n) return n
      if (at < 0) return -1 - at
      const view = new Uint32Array(this.#wasm.memory.buffer, this.#records + at * 8, 2)
      if (!dinero && (view[1] as number) >>> 28 === kinds.process) {
        this.#enter(view[0] as number)
        at++
      } else this.#fault()
    }
  }

  #range(record: number): MachineError {
    const [low, high] = new Uint32Array(
      this.#wasm.memory.buffer,
      this.#records + record * 8,
      2,
    ) as unknown as [number, number]
    const address = (high & 0xffff) * 2 ** 32 + low
    const { translation, virtualBits, physicalBits } = this.config
    const bits = translation ? virtualBits : physicalBits
    const what =
      address < 2 ** bits
        ? `${(high >>> 16) & 0xfff} bytes at ${hex(address)} go beyond the last address`
        : `address ${hex(address)} does not exist`
    const remedy = bits < 48 ? '; take a machine with more, such as --preset x86-64' : ''
    return new MachineError(
      'range',
      `Record ${this.#done + record + 1} of the trace: ${what}, this machine's have ${bits} bits${remedy}`,
    )
  }

  #tell(): void {
    const n = this.#wasm.touched()
    const frames = new Uint32Array(this.#wasm.memory.buffer, this.#out, n)
    for (let i = 0; i < n; i++) this.#policy.touch((this.#inFrame[frames[i] as number] as TracePage).unit)
  }

  #enter(process: number): void {
    if (process === this.#process) return
    let table = this.#tables.get(process)
    if (table === undefined) {
      // What goes for a new process's table goes before its first access, and is part of none.
      const { evictions, pagesWritten } = this.#rest
      const waits = this.#waits
      table = new PageTable(this.config, this.#memory, undefined, () => this.#reclaim())
      Object.assign(this.#rest, { evictions, pagesWritten })
      this.#waits = waits
      this.#tables.set(process, table)
    }
    if (this.#process !== 0) this.contextSwitches++
    if (this.#process !== 0)
      this.#tlbs.forEach((tlb, i) => {
        const config = i === 0 && this.config.tlb !== null ? this.config.tlb : this.config.itlb
        if (config !== null && !config.asid) this.#wasm.tlbFlush(tlb)
      })
    this.#process = process
    this.#wasm.enter(process, table.root)
  }

  #key(process: number, vpn: number): bigint {
    return (BigInt(process) << processShift) | BigInt(vpn)
  }

  // As Kernel.fault does it for memory of zeros.
  #fault(): void {
    const { config } = this
    const address = Number(this.#wasm.faultAddress())
    const vpn = Math.floor(address / config.pageSize)
    const process = this.#process
    const mapKey = process * 2 ** 40 + vpn
    let page = this.#byKey.get(mapKey)
    if (page === undefined) {
      page = { process, vpn, frame: -1, swapped: false, unit: this.#pages.length }
      this.#pages.push(page)
      this.#byKey.set(mapKey, page)
    }
    this.#makeTables(process, vpn)
    const rest = this.#rest
    while (this.#memory.free === 0 && this.#policy.residents < config.frames)
      if (!this.#reclaim())
        throw new MachineError(
          'memory',
          `No page can make room: page tables have all ${config.frames} frames; give the machine more`,
        )
    if (this.#memory.free === 0) this.#rebuild()
    const out = this.#policy.admit(page.unit)
    if (out !== NONE) this.#evict(this.#pages[out] as TracePage)
    const frame = this.#memory.take(vpn)
    if (frame < 0)
      throw new MachineError(
        'memory',
        `Frame ${vpn}, which page ${vpn} must have, is taken; take another placement than identity`,
      )
    page.frame = frame
    this.#inFrame[frame] = page
    new Uint8Array(this.#wasm.memory.buffer)[this.#dirty + frame] = 0
    this.#wasm.mapSet(this.#key(process, vpn), frame)
    rest.pageFaults++
    if (page.swapped) {
      rest.majorFaults++
      rest.pagesRead++
      this.#transfer()
    } else {
      rest.minorFaults++
      rest.zeroFills++
    }
  }

  #transfer(): void {
    const { diskLatency, diskByte } = this.config.cost
    this.#waits += diskLatency + this.config.pageSize * diskByte
  }

  #makeTables(process: number, vpn: number): void {
    const table = this.#tables.get(process) as PageTable
    table.slot(vpn, true, () => this.#reclaim())
    let slot = table.first(vpn)
    const { levels } = this.config.pageTable
    let below = levels.reduce((a, b) => a + b, 0)
    for (let level = 0; level < levels.length - 1; level++) {
      below -= levels[level] as number
      const { frame } = table.read(slot)
      const key = this.#key(process, Math.floor(vpn / 2 ** below)) | (BigInt(level + 1) << levelShift)
      this.#wasm.mapSet(key, frame)
      slot = table.next(vpn, slot, frame)
    }
  }

  /** From now on the policy is told everything; and what it would know if it had been told. */
  #rebuild(): void {
    if (this.#told || this.config.policy === 'fifo') return
    this.#told = true
    const stamps = new Float64Array(this.#inFrame.length)
    const view = new DataView(this.#wasm.memory.buffer)
    this.#inFrame.forEach((page, frame) => {
      if (page !== undefined) stamps[frame] = Number(view.getBigUint64(this.#stamps + frame * 8, true))
    })
    const order = this.#inFrame
      .flatMap((page, frame) => (page === undefined ? [] : [{ page, stamp: stamps[frame] as number }]))
      .sort((a, b) => a.stamp - b.stamp)
    for (const { page } of order) this.#policy.touch(page.unit)
    this.#wasm.note(this.#out)
  }

  #reclaim(): boolean {
    this.#rebuild()
    const unit = this.#policy.evict()
    if (unit === NONE) return false
    this.#evict(this.#pages[unit] as TracePage)
    return true
  }

  #evict(page: TracePage): void {
    const { frame, process, vpn } = page
    const rest = this.#rest
    rest.evictions++
    if (new Uint8Array(this.#wasm.memory.buffer)[this.#dirty + frame] === 1) {
      rest.pagesWritten++
      this.#transfer()
      if (!page.swapped && ++this.#swap > this.config.swapSlots)
        throw new MachineError(
          'memory',
          `Memory and swap are full: all ${this.config.swapSlots} swap slots are taken; give the machine more frames or swapSlots`,
        )
      page.swapped = true
    }
    page.frame = -1
    this.#inFrame[frame] = undefined
    this.#memory.give(frame)
    const key = this.#key(process, vpn)
    this.#wasm.mapDelete(key)
    for (const tlb of this.#tlbs) this.#wasm.tlbDrop(tlb, key)
  }

  /** Writes the dirty lines of the caches for data back, level by level, as Dinero does at the end of a trace. */
  flush(): void {
    if (this.#data !== 0) this.#wasm.flush(this.#data)
  }

  /** All counts of one cache; references and misses by kind: reads, writes, fetches, others. */
  cacheCounts(name: string): CacheCounts {
    const d = this.#caches.get(name)
    if (d === undefined)
      throw new MachineError(
        'config',
        `There is no cache ${name}: there are ${[...this.#caches.keys()].join(', ')}`,
      )
    const view = new DataView(this.#wasm.memory.buffer)
    const word = (i: number): number => Number(view.getBigUint64(d + 48 + i * 8, true))
    return {
      references: [word(0), word(1), word(2), word(3)],
      misses: [word(4), word(5), word(6), word(7)],
      evictions: word(8),
      writeBacks: word(9),
      otherLines: word(10),
      bytesRead: word(11),
      bytesWritten: word(12),
    }
  }

  /** Bytes that the hardware's tables take, in WebAssembly's memory. */
  get memoryBytes(): number {
    return this.#wasm.memory.buffer.byteLength
  }

  /** Distinct pages that the trace has touched. */
  get footprint(): number {
    return this.#pages.length
  }

  get processes(): number {
    return this.#tables.size
  }

  /** Records that have been run, those of switches included. */
  get records(): number {
    return this.#done
  }

  /** Frames that page tables have, of all processes. */
  get tableFrames(): number {
    let sum = 0
    for (const table of this.#tables.values()) sum += table.frames
    return sum
  }

  /** What it all came to. */
  get counters(): Counters {
    const view = new DataView(this.#wasm.memory.buffer)
    const word = (at: number): number => Number(view.getBigUint64(at, true))
    const sums = { ...this.#rest, caches: {} as Record<string, CacheCounters> }
    const at = this.#sums
    sums.reads = word(at) + word(at + 24)
    sums.writes = word(at + 8)
    sums.fetches = word(at + 16)
    sums.accesses = sums.reads + sums.writes + sums.fetches
    for (const tlb of this.#tlbs) {
      sums.tlbHits += word(tlb + 40)
      sums.tlbMisses += word(tlb + 48)
      sums.tlbEvictions += word(tlb + 56)
    }
    const times = reach(this.config.caches.length, this.config.cost)
    let cycles = 0
    times.forEach((time, level) => {
      const steps = word(at + 64 + level * 8)
      sums.walkSteps += steps
      sums.walkCycles += steps * time
      cycles += word(at + 32 + level * 8) * time
    })
    // Entries that no cache is asked for cost what memory costs.
    if (!this.config.pageTable.cached || this.config.pageTable.placement === 'outside')
      sums.walkCycles = sums.walkSteps * this.config.cost.memory
    sums.walks = word(at + 96)
    sums.faultCycles = sums.pageFaults * this.config.cost.fault + this.#waits
    const lookups = this.#tlbs.length === 0 ? 0 : (sums.tlbHits + sums.tlbMisses) * this.config.cost.tlbHit
    sums.cycles = cycles + sums.walkCycles + lookups + sums.faultCycles
    for (const name of this.#caches.keys()) {
      const { references, misses, evictions, writeBacks } = this.cacheCounts(name)
      sums.caches[name] = {
        reads: references[0] + references[3],
        writes: references[1],
        fetches: references[2],
        readMisses: misses[0] + misses[3],
        writeMisses: misses[1],
        fetchMisses: misses[2],
        evictions,
        writeBacks,
      }
    }
    return sums
  }
}
