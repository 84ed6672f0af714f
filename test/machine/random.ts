/** Random machines and traces, from a seed. */
import { Random } from '../../src/machine/sets.ts'
import { kinds } from '../../src/machine/trace.ts'

export interface RandomTrace {
  readonly words: Uint32Array
  readonly count: number
  readonly references: readonly {
    readonly process: number
    readonly kind: 'read' | 'write' | 'fetch'
    readonly address: number
    readonly size: number
  }[]
}

const replacements = ['lru', 'fifo', 'plru', 'random'] as const

/** Parameters of a small machine, such that everything in it has something to do. */
export function randomMachine(seed: number): object {
  const random = new Random(seed * 7919 + 1)
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const pageBits = 4 + random.below(4)
  const virtualBits = pageBits + 6 + random.below(4)
  const vpnBits = virtualBits - pageBits
  const depth = 1 + random.below(3)
  const levels = Array.from({ length: depth }, (_, i) =>
    i < depth - 1 ? Math.floor(vpnBits / depth) : vpnBits - (depth - 1) * Math.floor(vpnBits / depth),
  )
  const line = 2 ** (2 + random.below(4))
  const cache = (scale: number): object => {
    const ways = 2 ** random.below(4)
    return {
      size: line * ways * 2 ** (scale + random.below(2)),
      line: line * 2 ** random.below(2),
      ways: Math.max(1, ways / 2),
      policy: pick(replacements),
      seed: random.below(100),
      write: pick(['back', 'through']),
      allocate: random.below(2) === 0,
    }
  }
  const tlb = (): object => {
    const ways = 2 ** random.below(3)
    return {
      entries: ways * 2 ** random.below(3),
      ways,
      policy: pick(replacements),
      asid: random.below(2) === 0,
      seed: random.below(100),
    }
  }
  const shapes = [
    [],
    [{ unified: cache(2) }],
    [{ instruction: cache(1), data: cache(1) }],
    [{ instruction: cache(1), data: cache(1) }, { unified: cache(3) }],
    [{ unified: cache(1) }, { unified: cache(2) }, { unified: cache(4) }],
  ]
  const frames = pick([40, 70, 2 ** 9])
  const outside = random.below(2) === 0 || frames < 2 ** 8
  return {
    virtualBits,
    physicalBits: pageBits + 9,
    pageSize: 2 ** pageBits,
    frames,
    pageTable: {
      levels,
      entry: pick(['compact', 'p6', 'x86-64', 'sv39']),
      placement: outside ? 'outside' : 'frames',
      cached: random.below(2) === 0,
    },
    tlb: random.below(6) === 0 ? null : tlb(),
    itlb: random.below(3) === 0 ? tlb() : null,
    caches: pick(shapes),
    policy: pick(['lru', 'fifo', 'clock', 'random', '2q', 'arc', 'lirs']),
    swapSlots: 4096,
    placement: pick(['lowest', 'random']),
    seed: random.below(1000),
  }
}

/** References with some locality, of up to three processes. */
export function randomTrace(seed: number, count: number, virtualBits: number): RandomTrace {
  const random = new Random(seed * 104_729 + 3)
  const words: number[] = []
  const references: RandomTrace['references'][number][] = []
  let process = 1
  let base = 0
  for (let i = 0; i < count; i++) {
    if (random.below(60) === 0) {
      process = 1 + random.below(3)
      words.push(process, (kinds.process << 28) | (1 << 16))
    }
    if (random.below(30) === 0) base = random.below(2 ** virtualBits)
    const size = [1, 2, 4, 8, 40][random.below(5)] as number
    const address = Math.min(
      random.below(4) === 0 ? random.below(2 ** virtualBits) : (base + random.below(256)) % 2 ** virtualBits,
      2 ** virtualBits - size,
    )
    const kind = (['read', 'write', 'fetch'] as const)[random.below(3)] as 'read' | 'write' | 'fetch'
    words.push(address, (size << 16) | (kinds[kind] << 28))
    references.push({ process, kind, address, size })
  }
  return { words: Uint32Array.from(words), count: words.length / 2, references }
}
