// The files that targets read: made once, the same bytes in every run.
import { createCipheriv } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Kind = 'random' | 'log' | 'csv'

export const kinds: readonly Kind[] = ['random', 'log', 'csv']

/** What a table calls a kind of data. */
export const kindNames: Record<Kind, string> = {
  random: 'incompressible data',
  log: 'log text',
  csv: 'CSV numbers',
}

export const dataFolder: string = join(tmpdir(), 'lethe-bench')

const chunk = 4 << 20

/** The path of a file of `megabytes` (10^6 bytes, and some odd bytes) of one kind. */
export function dataFile(kind: Kind, megabytes: number): string {
  mkdirSync(dataFolder, { recursive: true })
  const path = join(dataFolder, `${kind}-${megabytes}`)
  const length = megabytes * 1_000_000 + 123
  if (existsSync(path) && statSync(path).size === length) return path
  const part = `${path}.${process.pid}`
  const fd = openSync(part, 'w')
  const next = maker(kind)
  for (let done = 0; done < length; ) {
    const piece = next()
    done += writeSync(fd, piece, 0, Math.min(piece.length, length - done))
  }
  closeSync(fd)
  renameSync(part, path)
  return path
}

function maker(kind: Kind): () => Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, kind), Buffer.alloc(16))
  const zeros = Buffer.alloc(chunk)
  if (kind === 'random') return () => cipher.update(zeros)
  const words = new Uint32Array(1 << 16)
  let used = words.length
  const random = (below: number): number => {
    if (used === words.length) {
      const fresh = cipher.update(zeros.subarray(0, words.byteLength))
      words.set(new Uint32Array(fresh.buffer, fresh.byteOffset, words.length))
      used = 0
    }
    return Math.floor(((words[used++] as number) / 2 ** 32) * below)
  }
  let clock = Date.UTC(2025, 0, 1)
  const hosts = ['web-01', 'web-02', 'db-main', 'cache-3', 'queue-7']
  const actions = ['GET /api/items', 'POST /api/orders', 'GET /static/app.js', 'DELETE /api/session', 'GET /']
  const log = (): string => {
    clock += random(2000)
    return `${new Date(clock).toISOString()} ${hosts[random(5)]} nginx[${1000 + random(9000)}]: ${actions[random(5)]}/${random(1e6)} ${[200, 200, 304, 404, 500][random(5)]} ${random(1e5)} bytes in ${random(900)} ms client=10.${random(256)}.${random(256)}.${random(256)}\n`
  }
  let row = 0
  const csv = (): string =>
    `${++row},${(random(1e8) / 1e4).toFixed(4)},${(random(1e6) / 100).toFixed(2)},${random(1e5)},${(random(2e9) / 1e9 - 1).toFixed(9)}\n`
  const line = kind === 'log' ? log : csv
  return () => {
    const lines: string[] = []
    for (let i = 0; i < 20_000; i++) lines.push(line())
    return Buffer.from(lines.join(''), 'latin1')
  }
}
