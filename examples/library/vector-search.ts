// The nearest of many embeddings that lie on disk as 8-bit numbers, within 8 MiB of memory.
//
// node examples/library/vector-search.ts [FILE]      FILE: 64 signed bytes a vector; made up where it is not given
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { elements, file, Memory } from 'lethe'
import { temporaryFolder } from './temporary.ts'

const dimensions = 64
using folder = temporaryFolder()
const path = process.argv[2] ?? join(folder.path, 'embeddings.i8')
if (process.argv[2] === undefined) {
  const made = Int8Array.from({ length: 200_000 * dimensions }, (_, i) => ((i * 2654435761) >>> 13) & 0xff)
  writeFileSync(path, made)
}

await using memory = await Memory.open({ budget: '8MiB' })
// Bytes on disk, floats in memory: four times the file, and never all of it there.
const vectors = await memory.map(file(path), elements({ of: 'i8', as: 'f32', scale: 1, over: 127 }))
const { array } = vectors
const count = array.length / dimensions
const wanted = array.slice(123 * dimensions, 124 * dimensions)

let best = -1
let bestScore = Number.NEGATIVE_INFINITY
for (let v = 0; v < count; v++) {
  if (v === 123) continue
  let score = 0
  for (let d = 0; d < dimensions; d++) score += wanted[d]! * array[v * dimensions + d]!
  if (score > bestScore) [best, bestScore] = [v, score]
}
vectors.check()
console.log(`of ${count} vectors, number ${best} is nearest to number 123 (score ${bestScore.toFixed(3)})`)
const { resident } = memory.stats()
console.log(`${(array.byteLength / 2 ** 20).toFixed(0)} MiB of floats, at most 8 MiB in memory: ${resident <= 2 ** 23}`)
