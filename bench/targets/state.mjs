// The same of Node: a string of text, or what JSON.parse makes of a file.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const [, bare] = /^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
const [kind, path] = process.argv.slice(2)
const data = kind === 'text' ? readFileSync(path, 'utf8') : JSON.parse(readFileSync(path, 'utf8'))
globalThis.gc?.()

function digest() {
  const hash = createHash('md5')
  if (kind === 'text')
    for (let at = 0; at < data.length; at += 1 << 20) hash.update(data.slice(at, at + (1 << 20)))
  else for (const record of data) hash.update(JSON.stringify(record))
  return hash.digest('hex')
}

console.log(`ready ${bare}`)
createInterface({ input: process.stdin }).on('line', () => console.log(digest()))
