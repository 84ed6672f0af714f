/**
 * 'range@OFFSET+LENGTH': a part of a backing as a view of its own, so that a lens which reads a whole file can read a member of one.
 * `pieces` makes a view of several such parts, one after the other.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Edit, Lens } from './lens.ts'

export interface Piece {
  /** Offset in the backing, and bytes. */
  readonly offset: number
  readonly length: number
}

/** The lens whose view is the pieces that a backing has, in order. They are looked for once for each backing. */
export function pieces(name: string, find: (backing: Backing) => readonly Piece[]): Lens {
  /** Where each piece begins in the view, and the end. */
  const known = new WeakMap<Backing, { readonly list: readonly Piece[]; readonly starts: Float64Array }>()

  function of(backing: Backing): { readonly list: readonly Piece[]; readonly starts: Float64Array } {
    let found = known.get(backing)
    if (!found) {
      const list = find(backing).filter(piece => piece.length > 0)
      const starts = new Float64Array(list.length + 1)
      for (const [i, { offset, length }] of list.entries()) {
        if (offset + length > backing.size)
          throw new LensError('corrupt', name, `the backing has ${backing.size} bytes`, offset)
        starts[i + 1] = (starts[i] as number) + length
      }
      found = { list, starts }
      known.set(backing, found)
    }
    return found
  }

  function size(backing: Backing): number {
    return of(backing).starts.at(-1) ?? 0
  }

  function pieceAt(starts: Float64Array, at: number): number {
    let low = 0
    let high = starts.length - 1
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((starts[middle] as number) <= at) low = middle
      else high = middle
    }
    return low
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const { list, starts } = of(backing)
    let done = 0
    if (at < (starts.at(-1) ?? 0))
      for (let i = pieceAt(starts, at); done < out.length && i < list.length; i++) {
        const { offset, length } = list[i] as Piece
        const from = at + done - (starts[i] as number)
        const n = Math.min(out.length - done, length - from)
        if (backing.read(offset + from, out.subarray(done, done + n)) !== n)
          throw new LensError('io', name, 'the backing is shorter than it was', offset + from)
        done += n
      }
    out.fill(0, done)
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    const { list, starts } = of(backing)
    if (at < 0 || at + bytes.length > size(backing))
      throw new RangeError(
        `Invalid put of ${bytes.length} bytes at ${at} in memory of ${size(backing)} bytes`,
      )
    const edits: Edit[] = []
    for (let i = pieceAt(starts, at), done = 0; done < bytes.length; i++) {
      const { offset, length } = list[i] as Piece
      const from = at + done - (starts[i] as number)
      const n = Math.min(bytes.length - done, length - from)
      edits.push({ offset: offset + from, bytes: bytes.subarray(done, done + n) })
      done += n
    }
    return edits
  }

  function locate(backing: Backing, at: number): number | undefined {
    const { list, starts } = of(backing)
    const i = list.findIndex(({ offset, length }) => at >= offset && at < offset + length)
    return i < 0 ? undefined : (starts[i] as number) + at - (list[i] as Piece).offset
  }

  return { name, size, get, put, locate }
}

export function range(offset: number, length: number): Lens {
  return pieces(`range@${offset}+${length}`, () => [{ offset, length }])
}

const RANGE = /^range@(0|[1-9][0-9]{0,14})\+(0|[1-9][0-9]{0,14})$/

export function rangeNamed(name: string): Lens | undefined {
  const match = RANGE.exec(name)
  return match ? range(Number(match[1]), Number(match[2])) : undefined
}
