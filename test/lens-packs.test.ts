/** The laws for objects in git packs and for the packs that Lethe writes itself. */
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { gitObject } from '../src/lens/git-object.ts'
import { CELL, packed, PackWriter } from '../src/lens/packed.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

/** Kind and size of an object in a git pack. */
function head(kind: number, size: number): Buffer {
  const bytes = [(kind << 4) | (size & 15)]
  for (let rest = size >> 4; rest > 0; rest >>= 7) {
    bytes[bytes.length - 1] = (bytes.at(-1) as number) | 128
    bytes.push(rest & 127)
  }
  return Buffer.from(bytes)
}

const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)])

function pack(...objects: Uint8Array[]): Uint8Array {
  const header = Buffer.from('PACK\0\0\0\x02\0\0\0\0', 'latin1')
  header.writeUInt32BE(objects.length, 8)
  return Buffer.concat([header, ...objects, Buffer.alloc(20)])
}

const blobs = fc
  .tuple(fc.constantFrom(1, 2, 3, 4), fc.uint8Array({ maxLength: 600, size: 'max' }))
  .map(([kind, bytes]) => pack(Buffer.concat([head(kind, bytes.length), deflateSync(bytes)])))

/** A blob that is stored, so that what follows always lies at the same place, and what is made of it. */
const BASE = 300
const STORED = head(3, BASE).length + deflateSync(new Uint8Array(BASE), { level: 0 }).length
const piece = fc.oneof(
  fc.tuple(fc.nat(BASE - 1), fc.integer({ min: 1, max: 200 })).map(([from, most]) => {
    const length = Math.min(most, BASE - from)
    return {
      command: [0x80 | 0x13, from & 255, from >> 8, length],
      made: (base: Uint8Array): Uint8Array => base.subarray(from, from + length),
    }
  }),
  fc.uint8Array({ minLength: 1, maxLength: 100 }).map(bytes => ({
    command: [bytes.length, ...bytes],
    made: (): Uint8Array => bytes,
  })),
)
const deltas = fc.tuple(
  fc.uint8Array({ minLength: BASE, maxLength: BASE }),
  fc.array(piece, { maxLength: 8 }),
)

function packOfDelta([base, pieces]: [
  Uint8Array,
  { command: number[]; made: (b: Uint8Array) => Uint8Array }[],
]): {
  bytes: Uint8Array
  wanted: Uint8Array
} {
  const wanted = Buffer.concat(pieces.map(({ made }) => made(base)))
  const delta = Uint8Array.from([
    ...varint(BASE),
    ...varint(wanted.length),
    ...pieces.flatMap(({ command }) => command),
  ])
  const distance = Buffer.from([((STORED >> 7) - 1) | 128, STORED & 127])
  const bytes = pack(
    Buffer.concat([head(3, BASE), deflateSync(base, { level: 0 })]),
    Buffer.concat([head(6, delta.length), distance, deflateSync(delta)]),
  )
  return { bytes, wanted }
}

describe('an object of a git pack', () => {
  lensContract(gitObject(12), { backings: blobs })
})

describe('a delta of a git pack', () => {
  const lens = gitObject(12 + STORED)
  lensContract(lens, { backings: deltas.map(made => packOfDelta(made).bytes) })

  it('is its pieces, one after the other', () => {
    fc.assert(
      fc.property(deltas, made => {
        const { bytes, wanted } = packOfDelta(made)
        const backing = bytesBacking(bytes)
        const out = new Uint8Array(lens.size(backing))
        lens.get(backing, 0, out)
        expect(Buffer.compare(out, wanted)).toBe(0)
      }),
      { seed: 20_260, numRuns: 1000 },
    )
  })
})

describe('a pack of cold pages', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-packs-'))
  const cells = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 4 }), fc.uint8Array({ minLength: 1, maxLength: 300 })),
    { maxLength: 3 },
  )
  // A few, because a context of zstd takes longer to make than a cell: where they are read is what differs.
  const packs = fc.sample(cells, { seed: 20_260, numRuns: 40 }).map(made => {
    const writer = new PackWriter(join(folder, 'pack'))
    for (const [pages, pattern] of made) writer.add(Buffer.alloc(pages * 4096, pattern))
    writer.commit()
    return new Uint8Array(readFileSync(writer.path))
  })
  afterAll(() => removeFolder(folder))

  lensContract(packed, { backings: fc.constantFrom(...packs), positions: fc.nat(3 * CELL) })
})
