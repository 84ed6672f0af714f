import { Collector, dot, memoryGraph } from 'lethe/heap'

const gc = new Collector()
const pair = gc.defineType({ size: 12, pointers: [4, 8] })
const [a, b, c, d] = [1, 2, 3, 4].map(() => gc.allocate(pair))
gc.roots.add(a)
gc.write(a, 4, b)
gc.write(c, 4, d) // c and d name each other, and nobody names them
gc.write(d, 4, c)
const { nodes, edges } = memoryGraph(gc)
console.log(
  `${nodes.length} objects, ${edges.length} pointers, ${nodes.filter(n => !n.reachable).length} objects are garbage`,
)
gc.collect()
console.log(`marked ${gc.statistics.marked}, freed ${gc.statistics.reclaimed}; left:`)
console.log(dot(memoryGraph(gc)))
