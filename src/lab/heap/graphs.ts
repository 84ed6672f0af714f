/** Object graphs for the collector, and its work on one, step by step. */
import * as kernel from '../../heap/code/collector.ts'
import { bind } from '../../heap/code/words.ts'
import { Collector } from '../../heap/collector.ts'
import { type MemoryGraph, memoryGraph } from '../../heap/graph.ts'

export interface GraphChoice {
  readonly id: string
  readonly name: string
  readonly say: string
  /** Objects by letter, and what each points to. */
  readonly edges: Readonly<Record<string, string>>
  readonly roots: string
}

export const graphs: readonly GraphChoice[] = [
  {
    id: 'lecture',
    name: 'Reachable or garbage',
    say: 'What a path from a root leads to lives. The rest is garbage, whoever points to it.',
    edges: { A: 'BC', B: 'D', C: 'DE', D: '', E: 'F', F: 'C', G: 'H', H: 'E', I: '', J: 'G' },
    roots: 'A',
  },
  {
    id: 'cycle',
    name: 'A cycle nobody holds',
    say: 'Each object of the ring is pointed to, so counting references would keep it for ever. Mark and sweep frees it.',
    edges: { A: 'B', B: '', P: 'Q', Q: 'R', R: 'S', S: 'P', T: 'P' },
    roots: 'A',
  },
  {
    id: 'list',
    name: 'A list that lost its tail',
    say: 'One pointer was cut in the middle of the list. Everything behind it goes at the next collection.',
    edges: { A: 'B', B: 'C', C: '', D: 'E', E: 'F', F: 'G', G: '', X: 'YZ', Y: '', Z: 'B' },
    roots: 'AX',
  },
  {
    id: 'tree',
    name: 'A tree with two roots',
    say: 'Shared parts are marked once: the mark bit stops the second visit.',
    edges: { A: 'BC', B: 'DE', C: 'EF', D: '', E: 'G', F: 'G', G: '', U: 'V', V: 'W', W: 'G' },
    roots: 'AC',
  },
]

export interface GraphShot {
  readonly phase: 'before' | 'mark' | 'sweep' | 'done'
  readonly marked: ReadonlySet<string>
  readonly alive: ReadonlySet<string>
  /** Objects that this step marked or freed. */
  readonly fresh: ReadonlySet<string>
}

export interface GraphFilm {
  readonly graph: MemoryGraph
  readonly names: ReadonlyMap<number, string>
  readonly shots: readonly GraphShot[]
}

export function collect({ edges, roots }: GraphChoice): GraphFilm {
  const gc = new Collector({ script: true, limit: 1 << 16, stack: 4096 })
  const node = gc.defineType({ size: 252, pointers: [4, 8, 12] })
  const letters = Object.keys(edges)
  const at = new Map(letters.map(letter => [letter, gc.allocate(node)]))
  for (const [from, targets] of Object.entries(edges))
    [...targets].forEach((to, i) => gc.write(at.get(from) as number, 4 + 4 * i, at.get(to) as number))
  for (const root of roots) gc.roots.add(at.get(root) as number)
  const graph = memoryGraph(gc)
  const marked = (): Set<string> => {
    bind(gc.memory)
    return new Set(
      letters.filter(
        letter => gc.isObject(at.get(letter) as number) && kernel.isMarked(at.get(letter) as number),
      ),
    )
  }
  const alive = (): Set<string> => new Set(letters.filter(letter => gc.isObject(at.get(letter) as number)))
  const shots: GraphShot[] = []
  const shoot = (phase: GraphShot['phase']): void => {
    const last = shots.at(-1)
    const now = phase === 'sweep' || phase === 'done' ? (last?.marked ?? new Set<string>()) : marked()
    const left = alive()
    const fresh =
      phase === 'mark'
        ? [...now].filter(letter => last?.marked.has(letter) !== true)
        : letters.filter(letter => last?.alive.has(letter) === true && !left.has(letter))
    if (phase === 'mark' && fresh.length === 0) return
    if (phase === 'sweep' && fresh.length === 0) return
    shots.push({ phase, marked: now, alive: left, fresh: new Set(fresh) })
  }
  shots.push({ phase: 'before', marked: new Set(), alive: alive(), fresh: new Set() })
  gc.startMarking()
  shoot('mark')
  for (;;) {
    bind(gc.memory)
    const more = kernel.markSome(1)
    shoot('mark')
    if (!more) break
  }
  kernel.beginSweeping()
  for (;;) {
    bind(gc.memory)
    const more = kernel.sweepSome(1)
    shoot('sweep')
    if (!more) break
  }
  shoot('done')
  return { graph, names: new Map([...at].map(([letter, address]) => [address, letter])), shots }
}
