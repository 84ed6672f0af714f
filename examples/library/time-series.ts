// The mean of each day of a time series in a gzipped CSV: the table is read once for its index, then like an array.
//
// node examples/library/time-series.ts [FILE.csv.gz]     with columns `time` (seconds) and `value`
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { csv, file, gunzip, Memory } from 'lethe'
import { temporaryFolder } from './temporary.ts'

using folder = temporaryFolder()
const path = process.argv[2] ?? join(folder.path, 'series.csv.gz')
if (process.argv[2] === undefined) {
  const rows = Array.from({ length: 100_000 }, (_, i) => `${i * 60},${Math.sin(i / 229).toFixed(4)},"a, note"`)
  writeFileSync(path, gzipSync(`time,value,note\n${rows.join('\n')}\n`))
}

await using memory = await Memory.open({ budget: '4MiB' })
const table = file(path).through(gunzip())
const time = await memory.map(table, csv({ column: 'time' }))
const value = await memory.map(table, csv({ column: 'value' }))

// The index of the first row at or after a time: a binary search touches a page here and there.
function rowAt(seconds: number): number {
  let low = 0
  let high = time.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (time.array[middle]! < seconds) low = middle + 1
    else high = middle
  }
  return low
}

const day = 86_400
for (let d = 0; d < 3; d++) {
  const [from, to] = [rowAt(d * day), rowAt((d + 1) * day)]
  let sum = 0
  for (const one of await value.read(from, to)) sum += one
  console.log(`day ${d}: ${to - from} rows, mean ${(sum / (to - from)).toFixed(4)}`)
}
