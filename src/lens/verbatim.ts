/**
 * Verbatim: memory's bytes are the backing's, from byte `offset` on. The offset is any; a copy on a heap
 * almost never keeps the alignment of its file.
 */
import type { Backing } from '../backing/backing.ts'
import type { Edit, Lens, Narrowed } from './lens.ts'

export function verbatim(offset = 0): Lens {
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new RangeError(`Invalid offset ${offset} of a verbatim lens`)

  function size(backing: Backing): number {
    return Math.max(0, backing.size - offset)
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (at < 0) throw new RangeError(`Invalid position ${at} of a verbatim lens`)
    const wanted = Math.max(0, Math.min(out.length, size(backing) - at))
    const done =
      wanted > 0 ? backing.read(offset + at, wanted === out.length ? out : out.subarray(0, wanted)) : 0
    out.fill(0, done)
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    if (at < 0 || at + bytes.length > size(backing)) {
      throw new RangeError(
        `Invalid put of ${bytes.length} bytes at ${at} in memory of ${size(backing)} bytes`,
      )
    }
    return bytes.length > 0 ? [{ offset: offset + at, bytes }] : []
  }

  /** Only a whole backing can be known from its memory. */
  function invert(memory: Uint8Array): Uint8Array | undefined {
    return offset === 0 ? memory.slice() : undefined
  }

  return { name: offset === 0 ? 'verbatim' : `verbatim@${offset}`, size, get, put, invert, narrow, locate }

  function narrow(memory: Uint8Array, into: Uint8Array): Narrowed {
    into.set(memory)
    return { from: 0, bytes: memory.length }
  }

  function locate(backing: Backing, at: number): number | undefined {
    return at >= offset && at < backing.size ? at - offset : undefined
  }
}

/** 'verbatim', 'verbatim@33'. */
export function verbatimNamed(name: string): Lens | undefined {
  const match = /^verbatim(?:@([1-9][0-9]{0,14}))?$/.exec(name)
  return match ? verbatim(Number(match[1] ?? 0)) : undefined
}
