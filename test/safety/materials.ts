/**
 * What a target's memory can be made of: bytes that the target holds, the file that they can be had again from, and the lens
 * that makes them. Every case of the safety tests can be played with each, see `Lab.material` and the stress.
 */
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { CELL, PackWriter } from '../../src/lens/packed.ts'
import { randomBytes } from '../explain-helpers.ts'
import { removeFolder } from '../../src/sys/folder.ts'

export const materials = ['verbatim', 'gzip', 'utf16', 'numbers', 'packed', 'recipe'] as const
export type MaterialName = (typeof materials)[number]

export interface Material {
  readonly name: MaterialName
  /** What the target holds. */
  readonly content: Buffer
  /** The bytes of the file; undefined: they are the content. */
  readonly source?: Buffer
  /** Makes the content of the source; of verbatim bytes there is none. */
  readonly lens?: string
}

/** The material of this run: LETHE_MATERIAL=utf16 npx vitest run test/safety plays the cases with that. */
export const chosen: MaterialName =
  materials.find(name => name === process.env['LETHE_MATERIAL']) ?? 'verbatim'

/** The lens that makes each. */
export const lensOf: Readonly<Record<MaterialName, string>> = {
  verbatim: 'verbatim',
  gzip: 'gunzip',
  utf16: 'utf8-utf16',
  numbers: 'numbers-f64',
  packed: 'packed',
  recipe: 'recipe',
}

/** How much of a target's memory becomes virtual: of a heap in pieces pages are left that hold too little of the file. */
export const shareOf = (name: MaterialName): number => (name === 'recipe' ? 0.9 : 1)

/** Of less nothing is packed, and no pieces are looked for. */
export const leastOf = (name: MaterialName): number =>
  (name === 'recipe' ? 16 : name === 'packed' ? 6 : 1) * 2 ** 20

/** `bytes` of content, the same for the same seed. */
export function material(name: MaterialName, bytes: number, seed: number): Material {
  const random = randomBytes(bytes, seed)
  if (name === 'verbatim') return { name, content: Buffer.from(random) }
  if (name === 'utf16') {
    const points = new Uint16Array(Math.ceil(bytes / 2))
    for (let i = 0; i < points.length; i++) points[i] = i % 61 === 60 ? 10 : 0x430 + ((random[i] ?? 0) & 31)
    const whole = Buffer.from(points.buffer)
    // An odd byte at the end is half a character: the source has all of it.
    return {
      name,
      content: whole.subarray(0, bytes),
      source: Buffer.from(whole.toString('utf16le')),
      lens: lensOf[name],
    }
  }
  if (name === 'numbers') {
    const values = new Float64Array(Math.ceil(bytes / 8))
    const lines: string[] = []
    for (let i = 0; i < values.length; i++) {
      const byte = (at: number): number => random[(i * 3 + at) % bytes] ?? 0
      const text = `${byte(0) * 256 + byte(1)}.${byte(2) + 1}`
      values[i] = Number(text)
      lines.push(text)
    }
    const content = Buffer.from(values.buffer).subarray(0, bytes)
    return { name, content, source: Buffer.from(`${lines.join('\n')}\n`), lens: lensOf[name] }
  }
  if (name === 'recipe') {
    // Objects on a heap, as an interpreter makes them of the lines of a file: a count, an address, the line.
    const content = Buffer.alloc(bytes)
    const lines: Buffer[] = []
    for (let at = 0, n = 0; at < bytes; n++) {
      const line = Buffer.from(
        Buffer.from(random.buffer, (n * 144) % (bytes - 288), 144 + (n % 9) * 12).toString('base64'),
      )
      const object = Buffer.alloc(16 + Math.ceil((line.length + 1) / 16) * 16)
      object.writeBigUInt64LE(1n, 0)
      object.writeBigUInt64LE(0x7f12_3456_7000n, 8)
      line.copy(object, 16)
      at += object.copy(content, at)
      lines.push(line)
    }
    return {
      name,
      content,
      source: Buffer.from(lines.map(line => `${line.toString('latin1')}\n`).join(''), 'latin1'),
      lens: lensOf[name],
    }
  }
  // Words: it compresses, and every page is another.
  const content = Buffer.alloc(bytes)
  for (let i = 0; i < bytes; i++)
    content[i] = i % 8 === 7 ? 32 : 97 + ((random[i] ?? 0) & (i % 8 < 4 ? 3 : 15))
  if (name === 'gzip') return { name, content, source: gzipSync(content), lens: lensOf[name] }
  return { name, content, source: pack(content), lens: lensOf[name] }
}

function pack(content: Buffer): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-pack-'))
  try {
    const writer = new PackWriter(join(folder, 'pack'))
    for (let at = 0; at < content.length; at += CELL) {
      const cell = content.subarray(at, at + CELL)
      // The end is no whole number of pages: as a pager would, only whole ones.
      const whole = cell.length - (cell.length % 4096)
      if (whole > 0 && writer.add(cell.subarray(0, whole)) === undefined)
        throw new Error(`the cell at ${at} compresses poorly`)
    }
    writer.commit()
    return readFileSync(writer.path)
  } finally {
    removeFolder(folder)
  }
}
