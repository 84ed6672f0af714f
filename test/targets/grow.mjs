// A Node target: a buffer read from a file and buffers that are made of it. `same` as long as all is what it must be.
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { crc32 } from 'node:zlib'

const data = readFileSync(process.argv[2])
const want = crc32(data)
const parts = []
const check = () => (crc32(data) === want && parts.every(p => crc32(p.bytes) === p.sum) ? 'same' : 'differs')
console.log('ready')
createInterface({ input: process.stdin }).on('line', line => {
  const [word, n] = line.split(' ')
  if (word === 'grow') {
    const at = Number(n) * 9001
    const bytes = Buffer.concat([data.subarray(at, at + 700_000), Buffer.alloc(100_000, Number(n))])
    parts.push({ bytes, sum: crc32(bytes) })
    bytes[5] ^= 255
    parts.at(-1).sum = crc32(bytes)
  } else if (word === 'fork') {
    const child = fork(new URL(import.meta.url), ['/dev/null'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    child.once('spawn', () => child.kill('SIGKILL'))
    child.once('exit', () => console.log(check()))
    return
  }
  console.log(check())
})
