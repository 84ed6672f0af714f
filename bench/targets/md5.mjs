import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
const data = readFileSync(process.argv[2])
console.log('ready')
createInterface({ input: process.stdin }).on('line', () => {
  console.log(createHash('md5').update(data).digest('hex'))
})
