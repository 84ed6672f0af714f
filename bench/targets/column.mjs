// node column.mjs HOW FILE CACHE: one column `price` of a CSV as an array, its sum twice; times and memory as JSON.
// Missing values are NaN, and not part of the sum. Plain JavaScript: Node's type stripper would be 10 MB of the memory that is measured.
import { createReadStream, readFileSync } from 'node:fs'
import { createGunzip } from 'node:zlib'

const [, , how, path = '', cache = ''] = process.argv
const packed = path.endsWith('.gz')
const began = performance.now()
const since = () => (performance.now() - began) / 1000
let peak = 0
function look() {
  const pss = /^Pss:\s+(\d+)/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))?.[1]
  peak = Math.max(peak, (Number(pss) * 1024) / 1e6)
}

function sumOf(array) {
  let sum = 0
  const step = Math.ceil(array.length / 16)
  for (let from = 0; from < array.length; from += step) {
    const to = Math.min(array.length, from + step)
    for (let i = from; i < to; i++) {
      const value = array[i]
      if (value === value) sum += value
    }
    look()
  }
  return sum
}

/** What reads the file into an array: its first value comes when some of it is read. */
async function whole() {
  let array = new Float64Array(2 ** 20)
  let length = 0
  const push = text => {
    const value = text === '' ? Number.NaN : Number(text)
    if (length === array.length) {
      const larger = new Float64Array(length * 2)
      larger.set(array)
      array = larger
    }
    array[length++] = value
  }
  const file = createReadStream(path, { highWaterMark: 2 ** 20 })
  const input = packed ? file.pipe(createGunzip({ chunkSize: 2 ** 18 })) : file
  if (how === 'csv-parse') {
    const { parse } = await import('csv-parse')
    const rows = input.pipe(parse({ columns: false, from_line: 2 }))
    for await (const row of rows) push(row[3])
  } else if (how === 'udsv') {
    const { inferSchema, initParser } = await import('udsv')
    let parser
    const decoder = new TextDecoder('latin1')
    for await (const piece of input) {
      const text = decoder.decode(piece, { stream: true })
      parser ??= initParser(inferSchema(text))
      // Each row is handed on and not kept.
      parser.chunk(text, parser.stringArrs, row => push(row[3]))
    }
    parser?.end()
  }
  return array.subarray(0, length)
}

async function main() {
  if (how === 'lethe') {
    const { csv, file, gunzip, Memory } = await import('lethe')
    await using memory = await Memory.open({ budget: '64MiB', cache })
    const opened = since()
    const source = packed ? file(path).through(gunzip()) : file(path)
    const region = await memory.map(source, csv({ column: 'price' }), { lazy: true })
    region.at(0)
    const first = since() - opened
    await region.ready()
    look()
    const sum = sumOf(region.array)
    const one = since()
    sumOf(region.array)
    return { first, opened, one, two: since() - one, sum, peak }
  }
  if (how === 'duckdb') {
    const { DuckDBInstance } = await import('@duckdb/node-api')
    const database = await DuckDBInstance.create(':memory:')
    const connection = await database.connect()
    const ask = async () => {
      const [row] = (await connection.runAndReadAll(`select sum(price) from '${path}'`)).getRows()
      return Number(row?.[0])
    }
    const sum = await ask()
    const one = since()
    await ask()
    look()
    return { first: one, opened: 0, one, two: since() - one, sum, peak }
  }
  const array = await whole()
  look()
  const first = since()
  const sum = sumOf(array)
  const one = since()
  sumOf(array)
  return { first, opened: 0, one, two: since() - one, sum, peak }
}

console.log(JSON.stringify(await main()))
