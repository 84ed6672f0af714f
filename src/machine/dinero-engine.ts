/**
 * Dinero IV's caches on the fast machine (engine.ts), where they are such as it has: whole blocks, fetched on demand, LRU or FIFO. Same counts as
 * DineroSimulator, which is much slower.
 */
import { machineConfig } from './configure.ts'
import type { DineroCache, LevelCounts } from './dinero.ts'
import { TraceEngine } from './engine.ts'

const policies = { l: 'lru', f: 'fifo', p: 'plru', r: 'random' } as const

const has = (cache: DineroCache): boolean =>
  cache.subBlock === cache.block &&
  cache.prefetch === 'd' &&
  cache.replacement !== 'r' &&
  Number.isInteger(Math.log2(cache.size / cache.ways)) &&
  cache.allocate !== 'f' &&
  cache.writeBack !== 'f' &&
  !cache.classify

export class DineroEngine {
  readonly #engine: TraceEngine
  readonly #caches: readonly (readonly [name: string, DineroCache])[]

  /** An engine for these levels; undefined if the fast machine does not have such caches. */
  static for(levels: readonly (readonly DineroCache[])[]): DineroEngine | undefined {
    if (levels.length > 3 || !levels.flat().every(has)) return undefined
    // Each level for all, or for both: and a level below a unified one is unified.
    if (levels.some(level => level.length === 1 && level[0]?.type !== 'u')) return undefined
    if (levels.some((level, i) => level.length > 1 && levels[i - 1]?.length === 1)) return undefined
    return new DineroEngine(levels)
  }

  private constructor(levels: readonly (readonly DineroCache[])[]) {
    const part = (cache: DineroCache): object => ({
      size: cache.size,
      line: cache.block,
      ways: cache.ways,
      policy: policies[cache.replacement],
      write: cache.writeBack === 'a' ? 'back' : 'through',
      allocate: cache.allocate === 'a',
    })
    this.#engine = new TraceEngine(
      machineConfig({
        preset: 'physical',
        // More than a record's address can have, so that the last reference may end behind it.
        physicalBits: 49,
        frames: 1,
        caches: levels.map(([first, second]) =>
          second === undefined
            ? { unified: part(first as DineroCache) }
            : { instruction: part(first as DineroCache), data: part(second) },
        ),
      }),
    )
    this.#caches = levels.flatMap((caches, i) =>
      caches.map((cache, k) => [`L${i + 1}${caches.length === 1 ? '' : ['i', 'd'][k]}`, cache] as const),
    )
  }

  /** Runs records; a Sink. */
  run(words: Uint32Array, count: number): void {
    this.#engine.run(words, count)
  }

  /** Runs records as a file has them; a Direct. */
  runBytes(bytes: Uint8Array, dinero: boolean): number {
    return this.#engine.runBytes(bytes, dinero)
  }

  /** All dirty blocks are written back at the end. */
  finish(): void {
    this.#engine.flush()
  }

  get levels(): readonly LevelCounts[] {
    return this.#caches.map(([name, cache]) => {
      const { references, misses, otherLines, bytesRead, bytesWritten } = this.#engine.cacheCounts(name)
      const none = new Float64Array(16)
      const wide = (four: readonly number[]): Float64Array =>
        Float64Array.from({ length: 16 }, (_, i) => four[i] ?? 0)
      return {
        cache,
        fetches: wide(references),
        misses: wide(misses),
        blockMisses: wide(misses),
        compulsory: none,
        capacity: none,
        conflict: none,
        compulsoryBlocks: none,
        capacityBlocks: none,
        conflictBlocks: none,
        multiBlock: otherLines,
        bytesRead,
        bytesWritten,
      }
    })
  }
}
