/**
 * The pages that a trace refers to, as dense numbers. Text, one reference a line, plain, gzip or zstd; the format is seen line by line:
 *
 *   0x7f3a10, 8273 or 7f3a10     an address (hex without 0x only if it has a letter)
 *   ` L 1ffe,8`, `I  4000,4`     Valgrind lackey
 *   `2 4000`                     Dinero: label and hex address
 *
 * Lines that start with `#`, `*` or `=` are left out. A reference that crosses a page's border counts for the page it starts in.
 */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { grown } from '../policy/lists.ts'
import { PageNumbers } from '../policy/index.ts'
import { MachineError } from './errors.ts'

export interface PageTrace {
  readonly pages: Int32Array
  readonly numbers: PageNumbers
}

/** Reads a trace; '-' is standard input. MachineError 'trace' names the line that is none. */
export async function readPageTrace(path: string, pageSize: number): Promise<PageTrace> {
  const numbers = new PageNumbers()
  let pages = new Int32Array(1 << 16)
  let count = 0
  let lines = 0
  let rest = ''
  const take = (text: string): void => {
    const whole = rest + text
    let from = 0
    for (;;) {
      const to = whole.indexOf('\n', from)
      if (to < 0) break
      lines++
      line(whole.slice(from, to))
      from = to + 1
    }
    rest = whole.slice(from)
  }
  const line = (text: string): void => {
    const address = addressIn(text)
    if (address === undefined) return
    if (!Number.isSafeInteger(address) || address < 0)
      throw new MachineError(
        'trace',
        `${path}, line ${lines}: "${text.slice(0, 40)}" is no reference; write an address a line, or lackey's or Dinero's lines`,
      )
    if (count === pages.length) pages = grown(pages, count)
    pages[count++] = numbers.of(Math.floor(address / pageSize))
  }
  for await (const chunk of await source(path)) take((chunk as Buffer).toString('latin1'))
  lines++
  line(rest)
  if (count === 0) throw new MachineError('trace', `${path} holds no reference`)
  return { pages: pages.slice(0, count), numbers }
}

async function source(path: string): Promise<Readable> {
  if (path === '-') return process.stdin
  const file = await open(path)
  const head = Buffer.alloc(4)
  await file.read(head, 0, 4, 0)
  await file.close()
  const raw = createReadStream(path, { highWaterMark: 1 << 20 })
  const unpack =
    head.readUInt16BE() === 0x1f8b
      ? createGunzip()
      : head.readUInt32BE() === 0x28b52ffd
        ? createZstdDecompress()
        : undefined
  if (unpack === undefined) return raw
  raw.on('error', error => unpack.destroy(error))
  return raw.pipe(unpack)
}

/** The address in a line; undefined if the line is to be left out, NaN if it is none. */
function addressIn(text: string): number | undefined {
  const first = text.charCodeAt(0)
  // Nothing, # * =
  if (Number.isNaN(first) || first === 35 || first === 42 || first === 61) return undefined
  const lackey = /^(?:I | [LSM]) +([0-9a-f]+),\d+/i.exec(text)
  if (lackey !== null) return Number.parseInt(lackey[1] as string, 16)
  const word = text.trim()
  if (word === '') return undefined
  if (/^\d+$/.test(word)) return Number(word)
  if (/^(0x)?[0-9a-f]+$/i.test(word)) return Number.parseInt(word, 16)
  const dinero = /^[0-4]\s+(?:0x)?([0-9a-f]+)\b/i.exec(word)
  return dinero === null ? Number.NaN : Number.parseInt(dinero[1] as string, 16)
}
