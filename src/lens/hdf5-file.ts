/**
 * What an HDF5 file says of its datasets (HDF5 File Format Specification 3.0): as far as h5py, PyTables and netCDF-4 write it by default.
 *
 * Superblocks 0 to 3, object headers 1 and 2, groups as symbol tables or with their links in the header; datasets that lie
 * contiguous or in chunks of a version 1 B-tree. Later ways to index chunks (libver='latest') and large groups of
 * that kind are refused by name.
 */
import type { Backing } from '../backing/backing.ts'
import type { StoredType } from './arrays.ts'
import { LensError } from './errors.ts'

const UNDEFINED = 0xffff_ffff_ffff_ffffn
const MOST = 2 ** 24
const DEEPEST = 32

export interface Chunk {
  /** Of its first element, by dimension. */
  readonly offsets: readonly number[]
  readonly at: number
  readonly bytes: number
  /** Bit i: filter i was not applied. */
  readonly mask: number
}

export interface Dataset {
  readonly of: StoredType
  readonly bigEndian: boolean
  readonly dimensions: readonly number[]
  /** Where the elements lie, if they are contiguous; chunked otherwise. */
  readonly at: number | undefined
  readonly chunk: readonly number[]
  readonly chunks: readonly Chunk[]
  /** Identifiers, in the order in which they were applied. */
  readonly filters: readonly number[]
  /** An element that was never written. */
  readonly fill: Uint8Array
}

interface Message {
  readonly type: number
  readonly data: Buffer
}

export class Hdf5File {
  readonly #lens: string
  readonly #backing: Backing
  readonly #root: number

  /** LensError 'corrupt' if it is no such file. */
  constructor(lens: string, backing: Backing) {
    this.#lens = lens
    this.#backing = backing
    const head = Buffer.alloc(96)
    if (backing.read(0, head) < 48 || head.toString('latin1', 0, 8) !== '\x89HDF\r\n\x1a\n')
      throw new LensError('corrupt', lens, 'this is no HDF5 file', 0)
    const version = head[8] ?? 0
    const [offsets, lengths] = version < 2 ? [head[13], head[14]] : [head[9], head[10]]
    if (version > 3 || offsets !== 8 || lengths !== 8)
      throw new LensError(
        'unsupported',
        lens,
        `superblocks of version ${version} with offsets of ${offsets} bytes are not read`,
        8,
      )
    this.#root = Number(head.readBigUInt64LE(version < 2 ? (version === 1 ? 68 : 64) : 36))
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length >= 0 && length <= MOST ? length : 0)
    if (!(at >= 0) || bytes.length !== length || this.#backing.read(at, bytes) !== length)
      throw new LensError('corrupt', this.#lens, 'the file is cut off or damaged', at)
    return bytes
  }

  #messages(at: number): Message[] {
    const found: Message[] = []
    const head = this.#read(at, 24)
    const blocks: { at: number; length: number }[] = []
    const second = head.toString('latin1', 0, 4) === 'OHDR'
    const flags = head[5] ?? 0
    if (second) {
      const sizeAt = 6 + (flags & 32 ? 16 : 0) + (flags & 16 ? 4 : 0)
      const width = 2 ** (flags & 3)
      const size = this.#read(at + sizeAt, 8).readUIntLE(0, Math.min(6, width))
      blocks.push({ at: at + sizeAt + width, length: size })
    } else if (head[0] === 1) blocks.push({ at: at + 16, length: head.readUInt32LE(8) })
    else throw new LensError('corrupt', this.#lens, 'an object has no header', at)
    for (let block = blocks.shift(), turns = 0; block && turns < 1000; block = blocks.shift(), turns++) {
      const bytes = this.#read(block.at, block.length)
      const step = second ? 4 + (flags & 4 ? 2 : 0) : 8
      for (let position = 0; position + step <= bytes.length; ) {
        const type = second ? (bytes[position] ?? 0) : bytes.readUInt16LE(position)
        const size = bytes.readUInt16LE(position + (second ? 1 : 2))
        const data = bytes.subarray(position + step, position + step + size)
        position += step + size
        if (type === 16 && data.length >= 16) {
          const next = Number(data.readBigUInt64LE(0))
          const length = Number(data.readBigUInt64LE(8))
          blocks.push(second ? { at: next + 4, length: length - 8 } : { at: next, length })
        } else found.push({ type, data })
      }
    }
    return found
  }

  /** Nodes of a B-tree of version 1, from the leaves: a key and where its child is. */
  *#tree(
    at: number,
    keyBytes: number,
    depth = 0,
  ): Generator<{ readonly key: Buffer; readonly child: number }, void> {
    const head = this.#read(at, 24)
    if (head.toString('latin1', 0, 4) !== 'TREE' || depth > DEEPEST)
      throw new LensError('corrupt', this.#lens, 'an index has no node here', at)
    const level = head[5] ?? 0
    const used = head.readUInt16LE(6)
    const entries = this.#read(at + 24, used * (keyBytes + 8))
    for (let i = 0; i < used; i++) {
      const key = entries.subarray(i * (keyBytes + 8), i * (keyBytes + 8) + keyBytes)
      const child = Number(entries.readBigUInt64LE(i * (keyBytes + 8) + keyBytes))
      if (level === 0) yield { key, child }
      else yield* this.#tree(child, keyBytes, depth + 1)
    }
  }

  /** Names in a group, and where their objects are; undefined if it is no group. */
  #group(messages: readonly Message[]): Map<string, number> | undefined {
    const members = new Map<string, number>()
    const table = messages.find(({ type }) => type === 17)
    if (table) {
      const heap = this.#read(Number(table.data.readBigUInt64LE(8)), 32)
      const names = this.#read(Number(heap.readBigUInt64LE(24)), Number(heap.readBigUInt64LE(8)))
      for (const { child } of this.#tree(Number(table.data.readBigUInt64LE(0)), 8)) {
        const count = this.#read(child, 8).readUInt16LE(6)
        const entries = this.#read(child + 8, count * 40)
        for (let i = 0; i < count; i++) {
          const from = Number(entries.readBigUInt64LE(i * 40))
          members.set(
            names.toString('utf8', from, names.indexOf(0, from)),
            Number(entries.readBigUInt64LE(i * 40 + 8)),
          )
        }
      }
      return members
    }
    const info = messages.find(({ type }) => type === 2)
    if (!info) return undefined
    const dense = info.data.readBigUInt64LE((info.data[1] ?? 0) & 1 ? 10 : 2)
    if (dense !== UNDEFINED)
      throw new LensError(
        'unsupported',
        this.#lens,
        "a group has many links in the way of libver='latest', which is not read",
      )
    for (const { type, data } of messages) {
      if (type !== 6) continue
      const flags = data[1] ?? 0
      let at = 2
      const kind = flags & 8 ? (data[at++] ?? 0) : 0
      if (flags & 4) at += 8
      if (flags & 16) at++
      const width = 2 ** (flags & 3)
      const length = data.readUIntLE(at, Math.min(6, width))
      at += width
      if (kind === 0)
        members.set(data.toString('utf8', at, at + length), Number(data.readBigUInt64LE(at + length)))
    }
    return members
  }

  /** Paths of all datasets. */
  datasets(at: number = this.#root, path = '', depth = 0): string[] {
    const messages = this.#messages(at)
    const members = depth < DEEPEST ? this.#group(messages) : undefined
    if (!members) return messages.some(({ type }) => type === 8) ? [path] : []
    return [...members].flatMap(([name, child]) => this.datasets(child, `${path}/${name}`, depth + 1))
  }

  dataset(path: string): Dataset {
    let at = this.#root
    for (const name of path.split('/').filter(part => part !== '')) {
      const next = this.#group(this.#messages(at))?.get(name)
      if (next === undefined) {
        const names = this.datasets()
          .slice(0, 50)
          .map(each => JSON.stringify(each))
          .join(', ')
        throw new LensError(
          'range',
          this.#lens,
          `there is no dataset ${JSON.stringify(path)}; there are ${names}`,
        )
      }
      at = next
    }
    const messages = this.#messages(at)
    const data = (type: number): Buffer | undefined => messages.find(each => each.type === type)?.data
    const [space, type, layout] = [data(1), data(3), data(8)]
    if (!space || !type || !layout) throw new LensError('range', this.#lens, `${path} is no dataset`, at)
    const rank = space[1] ?? 0
    const dimensions = Array.from({ length: rank }, (_, i) =>
      Number(space.readBigUInt64LE((space[0] === 1 ? 8 : 4) + i * 8)),
    )
    const { of, bigEndian, width } = this.#type(path, type)
    const about = { of, bigEndian, dimensions, filters: filters(data(11)), fill: fillOf(data(5), width) }
    const kind = layout[1] ?? 0
    if (layout[0] === 3 && kind === 2) return { ...about, at: undefined, ...this.#chunks(layout, rank) }
    if ((layout[0] === 3 || layout[0] === 4) && kind === 1)
      return { ...about, at: Number(layout.readBigUInt64LE(2)), chunk: [], chunks: [] }
    throw new LensError(
      'unsupported',
      this.#lens,
      `${path} is laid out in a way that is not read (version ${layout[0]}, class ${kind}); write it with h5py's default libver`,
    )
  }

  #chunks(
    layout: Buffer,
    rank: number,
  ): { readonly chunk: readonly number[]; readonly chunks: readonly Chunk[] } {
    const chunk = Array.from({ length: rank }, (_, i) => layout.readUInt32LE(11 + i * 4))
    const root = layout.readBigUInt64LE(3)
    const chunks: Chunk[] = []
    if (root !== UNDEFINED)
      for (const { key, child } of this.#tree(Number(root), 8 + 8 * (rank + 1)))
        chunks.push({
          bytes: key.readUInt32LE(0),
          mask: key.readUInt32LE(4),
          offsets: chunk.map((_, i) => Number(key.readBigUInt64LE(8 + i * 8))),
          at: child,
        })
    return { chunk, chunks }
  }

  #type(
    path: string,
    type: Buffer,
  ): { readonly of: StoredType; readonly bigEndian: boolean; readonly width: number } {
    const kind = (type[0] ?? 0) & 15
    const bits = type[1] ?? 0
    const width = type.readUInt32LE(4)
    const names: readonly (StoredType | undefined)[] =
      kind === 0
        ? [8, 16, 32, 64].map(n =>
            n === width * 8 ? (`${bits & 8 ? 'i' : 'u'}${n}` as StoredType) : undefined,
          )
        : kind === 1
          ? ([16, 32, 64] as const).map(n => (n === width * 8 ? (`f${n}` as StoredType) : undefined))
          : []
    const of = names.find(name => name !== undefined)
    if (!of) throw new LensError('unsupported', this.#lens, `${path} holds no numbers of 8 to 64 bits`)
    return { of, bigEndian: (bits & 1) === 1, width }
  }
}

function filters(message: Buffer | undefined): number[] {
  if (!message) return []
  const first = message[0] === 1
  const found: number[] = []
  for (let i = 0, at = first ? 8 : 2; i < (message[1] ?? 0); i++) {
    const id = message.readUInt16LE(at)
    const named = first || id >= 256
    const name = named ? message.readUInt16LE(at + 2) : 0
    at += named ? 4 : 2
    const values = message.readUInt16LE(at + 2)
    at += 4 + (first ? Math.ceil(name / 8) * 8 : name) + 4 * values + (first && values % 2 === 1 ? 4 : 0)
    found.push(id)
  }
  return found
}

function fillOf(message: Buffer | undefined, width: number): Uint8Array {
  const zero = new Uint8Array(width)
  if (!message) return zero
  const at = message[0] === 3 ? 2 : 4
  const isDefined = message[0] === 3 ? ((message[1] ?? 0) & 32) !== 0 : message[3] === 1
  if (!isDefined || message.length < at + 4 || message.readUInt32LE(at) !== width) return zero
  return new Uint8Array(message.subarray(at + 4, at + 4 + width))
}
