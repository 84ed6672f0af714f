// The memory graph of a collector: roots, nodes, edges, and what is garbage. To look at, and to compare a collection with.
import type { Collector } from './collector.ts'
import { blocks } from './inspect.ts'
import { policy } from './allocator.ts'

export interface MemoryGraph {
  readonly roots: readonly number[]
  readonly nodes: readonly { readonly at: number; readonly bytes: number; readonly reachable: boolean }[]
  readonly edges: readonly { readonly from: number; readonly distance: number; readonly to: number }[]
}

/** The objects that a collector's roots reach. */
export function reachable(gc: Collector): Set<number> {
  const found = new Set<number>()
  const left: number[] = rootsOf(gc)
  for (let p = left.pop(); p !== undefined; p = left.pop()) {
    if (found.has(p)) continue
    found.add(p)
    for (const [, target] of gc.pointersOf(p)) left.push(target)
  }
  return found
}

function rootsOf(gc: Collector): number[] {
  const roots = [...gc.roots]
  for (const { from, to } of gc.rootRanges)
    for (let at = from; at + 4 <= to; at += 4) {
      const p = gc.objectAt(gc.memory.load32(at))
      if (p !== 0) roots.push(p)
    }
  return roots
}

/** All objects and pointers. */
export function memoryGraph(gc: Collector): MemoryGraph {
  const live = reachable(gc)
  const nodes: { at: number; bytes: number; reachable: boolean }[] = []
  const edges: { from: number; distance: number; to: number }[] = []
  for (const { at, size, allocated } of gc.size === 0 ? [] : blocks(gc.memory, policy())) {
    if (!allocated || !gc.isObject(at)) continue
    nodes.push({ at, bytes: size - 4, reachable: live.has(at) })
    for (const [distance, to] of gc.pointersOf(at)) edges.push({ from: at, distance, to })
  }
  return { roots: rootsOf(gc), nodes, edges }
}

/** The graph for Graphviz: roots are boxes, garbage is grey. */
export function dot({ roots, nodes, edges }: MemoryGraph): string {
  const lines = ['digraph heap {', '  node [shape=ellipse, fontname="monospace"];']
  roots.forEach((to, i) => lines.push(`  root${i} [shape=box, label="root"];`, `  root${i} -> n${to};`))
  for (const { at, bytes, reachable: lives } of nodes)
    lines.push(`  n${at} [label="${at}\\n${bytes} bytes"${lives ? '' : ', style=filled, fillcolor=grey'}];`)
  for (const { from, distance, to } of edges) lines.push(`  n${from} -> n${to} [label="+${distance}"];`)
  return `${[...lines, '}'].join('\n')}\n`
}

/** What a collector keeps beyond `alive`, the objects that are truly reachable, and what it lost of them. */
export function compareWith(gc: Collector, alive: ReadonlySet<number>): { kept: number; lost: number } {
  let kept = 0
  for (const { at, allocated } of gc.size === 0 ? [] : blocks(gc.memory, policy()))
    if (allocated && gc.isObject(at) && !alive.has(at)) kept++
  let lost = 0
  for (const p of alive) if (!gc.isObject(p)) lost++
  return { kept, lost }
}
