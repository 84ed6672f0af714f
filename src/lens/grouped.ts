/**
 * Lenses that make a group of bytes of each group of bytes, alone: element types, colours, base64, hex. Groups may stand
 * in lines of equal length with line ends between, on either side. Where what lies is arithmetic, so there is no index.
 *
 * The *phase* is where in the backing the first group (or line) begins. Groups before it are not made: headers have
 * every length, and so the phase is part of the lens's name ('f16-f32+1'), modulo the length of a line of the backing.
 */
import type { Backing } from '../backing/backing.ts'
import { type ElementKernel, elementKernels, ROOM, type Step } from '../kernels/elements.ts'
import { LensError } from './errors.ts'
import type { Lens, Narrowed } from './lens.ts'

export interface Grouping {
  /** Without the phase. */
  readonly name: string
  /** Bytes of a group in the backing and in the view. */
  readonly from: number
  readonly to: number
  /** Groups in a line, and the bytes of line ends in the backing and in the view. */
  readonly groups: number
  readonly fromGap: number
  readonly toGap: number
  readonly forward: Step
  /** From view to backing; absent where a line has an end. */
  readonly back?: Step
  /** Whether what `back` gives is what the backing must hold; else (numbers lost digits) there is no narrowing. */
  readonly exact: boolean
  /** Bytes made of an incomplete group at the end; the rest of it is filled with '='. */
  readonly padded: boolean
  /** Of the last bytes of a backing that end in a whole group: how many bytes fewer that group makes. */
  readonly lacking?: (last: Uint8Array) => number
  /** A cheap look at a part of the backing. */
  readonly sane?: (bytes: Uint8Array) => boolean
}

/** Elements that are looked at, in three places, before all of a memory is narrowed. */
const PROBE = 8

export function grouped(grouping: Grouping, phase: number): Lens {
  const { from, to, groups, fromGap, toGap, forward, back } = grouping
  const fromLine = groups * from + fromGap
  const toLine = groups * to + toGap
  const name = phase === 0 ? grouping.name : `${grouping.name}+${phase}`
  const ends = new WeakMap<Backing, number>()
  const most = Math.floor(Math.min(ROOM / fromLine, ROOM / toLine))

  function size(backing: Backing): number {
    const rest = Math.max(0, backing.size - phase)
    const lines = Math.floor(rest / fromLine)
    const left = Math.min(rest - lines * fromLine, groups * from)
    const whole = lines * toLine + Math.floor(left / from) * to
    if (grouping.lacking && whole > 0) return whole - lacking(backing, grouping.lacking)
    return grouping.padded && left % from > 0 ? whole + to : whole
  }

  /** Looks at the last group once. */
  function lacking(backing: Backing, of: (last: Uint8Array) => number): number {
    const known = ends.get(backing)
    if (known !== undefined) return known
    const last = new Uint8Array(Math.min(from + 2, backing.size - phase))
    let end = backing.read(backing.size - last.length, last)
    while (end > 0 && (last[end - 1] === 10 || last[end - 1] === 13)) end--
    const place = (backing.size - phase - last.length + end) % fromLine
    const fewer = place % from === 0 && place <= groups * from ? of(last.subarray(0, end)) : 0
    ends.set(backing, fewer)
    return fewer
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const total = size(backing)
    const wanted = Math.max(0, Math.min(out.length, total - at))
    if (wanted < out.length) out.fill(0, wanted)
    if (wanted === 0) return
    let line = Math.floor(at / toLine)
    let skip = at - line * toLine
    const kernel = elementKernels.take()
    try {
      for (let done = 0; done < wanted; ) {
        const lines = Math.min(most, Math.ceil((skip + wanted - done) / toLine))
        load(kernel, backing, line, lines)
        kernel.forward(forward, lines)
        const part = Math.min(wanted - done, lines * toLine - skip)
        out.set(kernel.output.subarray(skip, skip + part), done)
        done += part
        line += lines
        skip = 0
      }
    } finally {
      elementKernels.give(kernel)
    }
    if (grouping.padded) pad(backing, total, at, out)
  }

  function load(kernel: ElementKernel, backing: Backing, line: number, lines: number): void {
    const at = phase + line * fromLine
    const bytes = Math.min(lines * fromLine, backing.size - at)
    const got = backing.read(at, kernel.input.subarray(0, bytes))
    if (got < bytes)
      throw new LensError('io', name, `the backing gave ${got} of ${bytes} bytes; look at it again`, at)
    kernel.input.fill(0, bytes, lines * fromLine)
  }

  function pad(backing: Backing, total: number, at: number, out: Uint8Array): void {
    const left = ((backing.size - phase) % fromLine) % from
    if (left === 0 || backing.size <= phase) return
    for (let i = total - from + left; i < total; i++) if (i >= at && i < at + out.length) out[i - at] = 61
  }

  function locate(backing: Backing, offset: number): number | undefined {
    if (offset < phase || offset >= backing.size) return undefined
    const line = Math.floor((offset - phase) / fromLine)
    const within = offset - phase - line * fromLine
    if (within >= groups * from || within % from !== 0) return undefined
    const at = line * toLine + (within / from) * to
    return at < size(backing) ? at : undefined
  }

  /** Whether `n` groups of memory from byte `at` on can have been made, and of what: in the kernel's input. */
  function undo(kernel: ElementKernel, way: Step, memory: Uint8Array, at: number, n: number): boolean {
    kernel.output.set(memory.subarray(at, at + n * to))
    return kernel.backward(way, forward, n, n * to)
  }

  /** All of memory's whole groups to `into`; -1 if they can't have been made. */
  function all(way: Step, memory: Uint8Array, into: Uint8Array): number {
    const count = Math.floor(memory.length / to)
    const kernel = elementKernels.take()
    try {
      for (const first of [0, count >> 1, count - PROBE])
        if (first > 0 || count > PROBE)
          if (!undo(kernel, way, memory, first * to, Math.min(PROBE, count))) return -1
      for (let done = 0; done < count; done += most) {
        const n = Math.min(most, count - done)
        if (!undo(kernel, way, memory, done * to, n)) return -1
        into.set(kernel.input.subarray(0, n * from), done * from)
      }
      return count * from
    } finally {
      elementKernels.give(kernel)
    }
  }

  function narrower(way: Step) {
    return (memory: Uint8Array, into: Uint8Array): Narrowed | undefined => {
      const bytes = all(way, memory, into)
      // One value over and over says nothing about where it comes from.
      let i = from
      while (i < bytes && into[i] === into[i - from]) i++
      return i >= bytes ? undefined : { from: 0, bytes }
    }
  }

  function inverter(way: Step) {
    return (memory: Uint8Array): Uint8Array | undefined => {
      if (memory.length % to !== 0) return undefined
      const into = new Uint8Array((memory.length / to) * from)
      return all(way, memory, into) < 0 ? undefined : into
    }
  }

  function suits(backing: Backing): boolean {
    const total = backing.size - phase
    if (total < from) return false
    const { sane } = grouping
    if (sane === undefined) return true
    const bytes = new Uint8Array(Math.min(4 * fromLine + 512, total))
    let good = 0
    for (const part of [1 / 16, 1 / 2, 15 / 16]) {
      const line = Math.floor((part * Math.max(0, total - bytes.length)) / fromLine)
      if (sane(bytes.subarray(0, backing.read(phase + line * fromLine, bytes)))) good++
    }
    return good >= 2
  }

  return {
    name,
    size,
    get,
    locate,
    suits,
    ...(back && grouping.exact ? { narrow: narrower(back) } : {}),
    ...(back && phase === 0 ? { invert: inverter(back) } : {}),
  }
}
