/**
 * Physically addressed caches: one to three levels, each for all or split into instructions and data.
 *
 * A cache holds no bytes of its own: memory (memory.ts) always has the current ones, and the caches say which of them are
 * also near the processor. So a line can't be wrong, and DMA needs no flush; what a cache costs and saves is the same.
 *
 * What goes to the next level for a reference, in this order: the line that a miss brings (not for a write that fills
 * whole lines), a write that is not kept here, then the dirty line that had to make room.
 */
import type { CacheLook } from './access.ts'
import type { CacheConfig, CacheLevel, CostModel } from './config.ts'
import { Sets } from './sets.ts'

/** What no cache has comes from here. */
const memoryLevel = Number.MAX_SAFE_INTEGER

type Kind = 'read' | 'write' | 'fetch'

export class Cache {
  readonly name: string
  readonly config: CacheConfig
  readonly #sets: Sets
  readonly #dirty: Uint8Array
  readonly #next: Cache | undefined
  /** 0 for the first. */
  readonly level: number
  readonly #setCount: number

  constructor(name: string, level: number, config: CacheConfig, next: Cache | undefined) {
    this.name = name
    this.level = level
    this.config = config
    this.#setCount = config.size / config.line / config.ways
    this.#sets = new Sets(this.#setCount, config.ways, config.policy, config.seed)
    this.#dirty = new Uint8Array(config.size / config.line)
    this.#next = next
  }

  get sets(): number {
    return this.#setCount
  }

  /** CO, CI and CT of a physical address. */
  split(physical: number): { offset: number; set: number; tag: number; line: number } {
    const offset = physical % this.config.line
    const line = (physical - offset) / this.config.line
    const set = line % this.#setCount
    return { offset, set, tag: (line - set) / this.#setCount, line }
  }

  /** Whether the line of an address is here; changes nothing. */
  holds(physical: number): boolean {
    const { set, line } = this.split(physical)
    return this.#sets.find(set, line) >= 0
  }

  /**
   * A reference that lies in one line: the level that had it. Appends what happened, here and further down, to `looks`; `aside`
   * marks what nobody waits for: writes that go through a buffer.
   */
  #reference(kind: Kind, physical: number, size: number, aside: boolean, looks: CacheLook[]): number {
    const { config } = this
    const { offset, set, tag, line } = this.split(physical)
    let way = this.#sets.find(set, line)
    const hit = way >= 0
    const look: CacheLook = { name: this.name, kind, offset, set, tag, hit, ...(aside ? { aside } : {}) }
    looks.push(look)
    const keeps = hit || kind !== 'write' || config.allocate
    let back = -1
    if (hit) this.#sets.touch(set, way)
    else if (keeps) {
      way = this.#sets.victim(set)
      back = this.#evict(set, way, look)
      this.#sets.put(set, way, line)
    }
    if (keeps) look.way = way
    let level = hit ? this.level : memoryLevel
    if (!hit && (kind !== 'write' || (config.allocate && size < config.line)))
      level = this.#below(kind === 'fetch' ? 'fetch' : 'read', physical - offset, config.line, aside, looks)
    if (kind === 'write') {
      if (keeps && config.write === 'back') this.#dirty[set * config.ways + way] = 1
      else {
        const reached = this.#below('write', physical, size, aside || keeps, looks)
        if (!keeps) level = reached
      }
    }
    if (back >= 0) this.#below('write', back, config.line, true, looks)
    return level
  }

  #below(kind: Kind, physical: number, size: number, aside: boolean, looks: CacheLook[]): number {
    return this.#next?.part(kind, physical, size, aside, looks) ?? memoryLevel
  }

  /** Makes room. The address of a line that has to be written to the next level, or -1. */
  #evict(set: number, way: number, look: CacheLook): number {
    const slot = set * this.config.ways + way
    const old = this.#sets.keys[slot] as number
    if (old < 0) return -1
    look.evicted = old * this.config.line
    if (this.#dirty[slot] === 0) return -1
    this.#dirty[slot] = 0
    look.writeBack = true
    return look.evicted
  }

  /** A reference of any size: a part for each line that it touches. The farthest level that it had to go to. */
  part(kind: Kind, physical: number, size: number, aside: boolean, looks: CacheLook[]): number {
    const { line } = this.config
    let level = 0
    for (let at = physical; at < physical + size; ) {
      const end = Math.min(physical + size, at - (at % line) + line)
      level = Math.max(level, this.#reference(kind, at, end - at, aside, looks))
      at = end
    }
    return level
  }

  /** Puts a line in, as a state file says: into `way`. */
  place(set: number, way: number, tag: number, dirty: boolean): void {
    this.#sets.put(set, way, tag * this.#setCount + set)
    this.#dirty[set * this.config.ways + way] = dirty ? 1 : 0
  }

  /** Physical addresses of all lines, set by set; -1 where a way is empty. */
  contents(): { address: number; dirty: boolean }[] {
    return Array.from(this.#sets.keys, (line, slot) => ({
      address: line < 0 ? -1 : line * this.config.line,
      dirty: this.#dirty[slot] === 1,
    }))
  }
}

/** All caches of a machine. */
export class Caches {
  /** First level first; a split level has its instruction cache first. */
  readonly all: readonly Cache[]
  readonly #data: Cache | undefined
  readonly #instruction: Cache | undefined
  readonly #cost: CostModel
  /** Cycles to level 1, 2, 3 and, last, to memory. */
  readonly #reach: readonly number[]
  /** Number of levels. */
  readonly depth: number

  constructor(levels: readonly CacheLevel[], cost: CostModel) {
    const all: Cache[] = []
    let data: Cache | undefined
    let instruction: Cache | undefined
    levels
      .map((level, i) => ({ level, i, name: `L${i + 1}` }))
      .reverse()
      .forEach(({ level, i, name }) => {
        if (level.unified) {
          data = new Cache(name, i, level.unified, data)
          instruction = data
          all.unshift(data)
        } else {
          instruction = new Cache(`${name}i`, i, level.instruction as CacheConfig, instruction)
          data = new Cache(`${name}d`, i, level.data as CacheConfig, data)
          all.unshift(instruction, data)
        }
      })
    this.all = all
    this.#data = data
    this.#instruction = instruction
    this.#cost = cost
    this.depth = levels.length
    this.#reach = reach(levels.length, cost)
  }

  /** The first level for accesses of this kind. */
  first(kind: Kind): Cache | undefined {
    return kind === 'fetch' ? this.#instruction : this.#data
  }

  /** A reference of the processor: all looks, the level that had it (of several lines the farthest), and the cycles. */
  access(kind: Kind, physical: number, size: number): { looks: CacheLook[]; from: string; cycles: number } {
    const first = this.first(kind)
    const looks: CacheLook[] = []
    if (first === undefined) return { looks, from: 'memory', cycles: this.#cost.memory }
    const level = Math.min(first.part(kind, physical, size, false, looks), this.depth)
    return {
      looks,
      from: level === this.depth ? 'memory' : `L${level + 1}`,
      cycles: this.#reach[level] as number,
    }
  }
}

/** Cycles until a byte of level 1, 2, 3 and, last, of memory is there: every level before it has been asked. */
export function reach(levels: number, { cache, memory }: CostModel): number[] {
  const cycles: number[] = []
  let sum = 0
  for (let i = 0; i < levels; i++) {
    sum += cache[i] ?? cache.at(-1) ?? 0
    cycles.push(sum)
  }
  return [...cycles, sum + memory]
}
