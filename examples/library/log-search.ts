// Lines of a gzipped log that hold a word, with what stands around them: the log is never unpacked to disk.
//
// node examples/library/log-search.ts [FILE.gz WORD]
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { file, gunzip, Memory } from 'lethe'
import { temporaryFolder } from './temporary.ts'

using folder = temporaryFolder()
const [, , given, word = 'refused'] = process.argv
const path = given ?? join(folder.path, 'log.gz')
if (given === undefined) {
  const line = (i: number): string =>
    `2026-11-22T04:${String(i % 60).padStart(2, '0')} host app[${i}]: connection ${i % 9973 === 0 ? 'refused' : 'accepted'}\n`
  writeFileSync(path, gzipSync(Array.from({ length: 60_000 }, (_, i) => line(i)).join('')))
}

await using memory = await Memory.open({ budget: '4MiB' })
const log = await memory.map(file(path).through(gunzip()))
const needle = Buffer.from(word)
let found = 0
let at = 0
let before = Buffer.alloc(0)
for await (const chunk of log) {
  // A word can begin in one chunk and end in the next.
  const text = Buffer.concat([before, Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)])
  const start = at - before.length
  for (let i = text.indexOf(needle); i >= 0; i = text.indexOf(needle, i + 1)) {
    found++
    // The bytes around it are an array: they can be looked at wherever they are.
    const around = Buffer.from(await log.read(Math.max(0, start + i - 80), Math.min(log.length, start + i + 80)))
    const here = around.subarray(0, 80 + needle.length).toString().split('\n').at(-1)
    if (found <= 3) console.log(`${start + i}: …${here}`)
  }
  before = Buffer.from(text.subarray(-needle.length + 1))
  at += chunk.length
}
console.log(`'${word}' is there ${found} times in ${log.length} bytes`)
