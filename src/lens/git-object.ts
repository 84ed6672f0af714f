/**
 * 'git-object@OFFSET': the object that lies at a byte of a git pack (version 2 or 3), with its deltas applied: what git has
 * in memory. An object that is a delta of one in another pack is refused ('unsupported').
 *
 * Entry: kind and size, seven bits a byte (four in the first); for a delta where its base is; a zlib stream. Kinds: 1 commit,
 * 2 tree, 3 blob, 4 tag, 6 delta of an object that lies a distance before, 7 delta of the object of a name.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'
import type { Member } from './members.ts'
import { ZlibReader } from './zlib-reader.ts'

/** Larger objects are not had: they are made whole. */
const MOST = 2 ** 27
/** Bytes of objects that are kept, over all packs. */
const KEPT = 2 ** 23
const LONGEST_CHAIN = 4096

interface Entry {
  readonly kind: number
  /** Bytes that the stream makes: the object, or the delta. */
  readonly size: number
  /** Where the base of a delta is; -1 where it is known by name only. */
  readonly base: number
  /** Where the stream begins. */
  readonly data: number
}

export function isPack(backing: Backing): boolean {
  const head = Buffer.alloc(12)
  return (
    backing.read(0, head) === 12 &&
    head.toString('latin1', 0, 4) === 'PACK' &&
    [2, 3].includes(head.readUInt32BE(4))
  )
}

function entryAt(reader: ZlibReader, lens: string, offset: number): Entry {
  const bytes = reader.peek(offset, 48)
  const first = bytes[0] ?? 0
  const kind = (first >> 4) & 7
  let size = first & 15
  let at = 1
  let byte = first
  for (let scale = 16; byte & 128; scale *= 128) {
    byte = bytes[at++] ?? 0
    size += (byte & 127) * scale
  }
  let base = -1
  if (kind === 6) {
    byte = bytes[at++] ?? 0
    let distance = byte & 127
    while (byte & 128) {
      byte = bytes[at++] ?? 0
      distance = (distance + 1) * 128 + (byte & 127)
    }
    base = offset - distance
  } else if (kind === 7) at += 20
  else if (kind === 0 || kind === 5) throw new LensError('corrupt', lens, 'no object lies there', offset)
  if (at > bytes.length || !Number.isSafeInteger(size) || (kind === 6 && (base < 12 || base >= offset)))
    throw new LensError('corrupt', lens, 'the header of an object is damaged', offset)
  return { kind, size, base, data: offset + at }
}

/** A number of a delta: seven bits a byte, the lowest first. */
function deltaNumber(delta: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0
  for (let scale = 1; ; scale *= 128) {
    const byte = delta[at++] ?? 0
    value += (byte & 127) * scale
    if (byte < 128) return { value, next: at }
  }
}

/** Applies a delta; undefined where it does not fit its base. */
export function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array | undefined {
  const from = deltaNumber(delta, 0)
  const to = deltaNumber(delta, from.next)
  if (from.value !== base.length || to.value > MOST) return undefined
  const out = new Uint8Array(to.value)
  let done = 0
  for (let at = to.next; at < delta.length; ) {
    const command = delta[at++] ?? 0
    if (command & 128) {
      let offset = 0
      let length = 0
      for (let i = 0; i < 4; i++) if (command & (1 << i)) offset += (delta[at++] ?? 0) * 256 ** i
      for (let i = 0; i < 3; i++) if (command & (16 << i)) length += (delta[at++] ?? 0) * 256 ** i
      if (length === 0) length = 65_536
      if (offset + length > base.length || done + length > out.length) return undefined
      out.set(base.subarray(offset, offset + length), done)
      done += length
    } else {
      if (command === 0 || at + command > delta.length || done + command > out.length) return undefined
      out.set(delta.subarray(at, at + command), done)
      at += command
      done += command
    }
  }
  return done === out.length ? out : undefined
}

/** Objects that were made lately, the most recently used last, by their backing's number and their offset. */
const kept = new Map<string, Uint8Array>()
let keptBytes = 0
/** An object takes so much besides its bytes. */
const EACH = 256
let backings = 0
const numbers = new WeakMap<Backing, number>()
const readers = new WeakMap<Backing, ZlibReader>()

function readerOf(backing: Backing): ZlibReader {
  let reader = readers.get(backing)
  if (!reader) {
    reader = new ZlibReader('git-object', backing)
    readers.set(backing, reader)
  }
  return reader
}

function keyOf(backing: Backing, offset: number): string {
  let number = numbers.get(backing)
  if (number === undefined) numbers.set(backing, (number = ++backings))
  return `${number}@${offset}`
}

function keptObject(backing: Backing, offset: number): Uint8Array | undefined {
  const key = keyOf(backing, offset)
  const bytes = kept.get(key)
  if (bytes && kept.delete(key)) kept.set(key, bytes)
  return bytes
}

/** Keeps an object that is not kept. */
function keep(backing: Backing, offset: number, bytes: Uint8Array): void {
  kept.set(keyOf(backing, offset), bytes)
  keptBytes += bytes.length + EACH
  for (const [key, { length }] of kept) {
    if (keptBytes <= KEPT || kept.size === 1) return
    kept.delete(key)
    keptBytes -= length + EACH
  }
}

/** The whole object at an offset of a pack. */
function objectAt(backing: Backing, lens: string, offset: number): Uint8Array {
  const reader = readerOf(backing)
  const deltas: { readonly at: number; readonly bytes: Uint8Array }[] = []
  let at = offset
  let bytes: Uint8Array | undefined
  while (!bytes) {
    bytes = keptObject(backing, at)
    if (bytes) break
    const entry = entryAt(reader, lens, at)
    if (entry.kind === 7)
      throw new LensError('unsupported', lens, 'it is a delta of an object known by name only', at)
    if (entry.size > MOST)
      throw new LensError('unsupported', lens, `an object of ${entry.size} bytes is too large`, at)
    const made = new Uint8Array(entry.size)
    reader.inflate(entry.data, entry.size, made)
    if (entry.kind === 6) {
      deltas.push({ at, bytes: made })
      if (deltas.length > LONGEST_CHAIN)
        throw new LensError('corrupt', lens, 'its chain of deltas has no end', at)
      at = entry.base
    } else {
      bytes = made
      keep(backing, at, bytes)
    }
  }
  for (const delta of deltas.toReversed()) {
    bytes = applyDelta(bytes, delta.bytes)
    if (!bytes) throw new LensError('corrupt', lens, 'a delta does not fit its base', delta.at)
    keep(backing, delta.at, bytes)
  }
  return bytes
}

export function gitObject(offset: number): Lens {
  const name = `git-object@${offset}`
  return {
    name,
    size: backing => objectAt(backing, name, offset).length,
    get(backing, at, out) {
      if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
      const part = objectAt(backing, name, offset).subarray(at, at + out.length)
      out.set(part)
      out.fill(0, part.length)
    },
    suits: isPack,
  }
}

const NAME = /^git-object@([1-9][0-9]{0,14})$/

export function gitObjectNamed(name: string): Lens | undefined {
  const match = NAME.exec(name)
  return match ? gitObject(Number(match[1])) : undefined
}

/** Every object of a pack, with the size that it has when its deltas are applied. Reads the pack once. */
export function* gitObjects(backing: Backing, pause: () => void): Generator<Member, void> {
  const reader = new ZlibReader('git-object', backing)
  const count = Buffer.from(reader.peek(8, 4)).readUInt32BE(0)
  let offset = 12
  const delta = new Uint8Array(32)
  for (let i = 0; i < count; i++) {
    const { kind, size, data } = entryAt(reader, 'git-object', offset)
    const isDelta = kind >= 6
    const whole = isDelta ? new Uint8Array(size) : undefined
    const next = reader.inflate(data, size, whole)
    delta.set(whole?.subarray(0, 32) ?? [])
    const made = isDelta ? deltaNumber(delta, deltaNumber(delta, 0).next).value : size
    if (kind !== 7) yield { lens: `git-object@${offset}`, size: made, offset }
    offset = next
    if (i % 256 === 0) pause()
  }
}
