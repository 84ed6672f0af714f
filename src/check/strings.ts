// Functions of the C library that are checked as a whole, in place of their code: what they read and write is what C says, not the words
// in which a library's tricks do it. Each works on the guest's memory and tells the checker of the ranges it touches.
import type { Shadow } from './shadow.ts'

/** What such a function may do and learn. Addresses and lengths are unsigned. */
export interface StringHost {
  readonly memory: () => Uint8Array
  readonly shadow: () => Shadow
  /** Checks [at, at + length) to be read; false: reported. `argument` is the pointer's place among the arguments. */
  read(at: number, length: number, argument: number): boolean
  /** The same, and the bytes have to be defined, as they decide something. */
  readDefined(at: number, length: number, argument: number): boolean
  write(at: number, length: number, argument: number): boolean
  /**
   * The same for a string of `length` bytes, the last of which are written from `at + from` on: it has to stay in the member of a variable
   * where it begins, too.
   */
  writeText(at: number, length: number, argument: number, from?: number): boolean
  /** Reports ranges that overlap though they must not. */
  overlap(to: number, from: number, length: number): void
  /** The result is the pointer in this argument, moved: it keeps its tag. */
  keep(argument: number): void
}

export type StringFunction = (host: StringHost, ...args: number[]) => number

/** The end of memory, for a search without a limit. */
const FOREVER = 0xffffffff

/** The first `unit` of 0, or any of `until`, at most `limit` bytes away. Checks what it reads: one report at most. */
function length(host: StringHost, at: number, limit: number, argument: number, unit = 1, other = 0): number {
  const bytes = host.memory()
  const end = Math.min(at + limit, bytes.length)
  let i = at
  const value = (): number =>
    unit === 1
      ? (bytes[i] as number)
      : (bytes[i] as number) |
        ((bytes[i + 1] ?? 0) << 8) |
        ((bytes[i + 2] ?? 0) << 16) |
        ((bytes[i + 3] ?? 0) << 24)
  while (i + unit <= end) {
    const found = value()
    if (found === 0 || (other !== 0 && found === other)) break
    i += unit
  }
  const all = i + unit <= end ? i - at + unit : i - at
  host.readDefined(at, limit === FOREVER ? Math.max(all, unit) : all, argument)
  return i - at
}

function transfer(host: StringHost, to: number, from: number, size: number, disjoint: boolean): void {
  if (size === 0) return
  // Compilers copy a struct to itself so, too.
  if (disjoint && to !== from && to < from + size && from < to + size) host.overlap(to, from, size)
  host.read(from, size, 1)
  host.write(to, size, 0)
  copyWhere(host, to, from, size)
}

// The part of an overrun that may be written is written, the rest too: the program goes on as it would have.
function copyWhere(host: StringHost, to: number, from: number, size: number): void {
  const bytes = host.memory()
  const fits = Math.min(size, bytes.length - to, bytes.length - from)
  if (fits <= 0) return
  bytes.copyWithin(to, from, from + fits)
  host.shadow().copy(to, from, fits)
}

function fill(host: StringHost, at: number, value: number, size: number): void {
  if (size === 0) return
  host.write(at, size, 0)
  const bytes = host.memory()
  const end = Math.min(at + size, bytes.length)
  if (end <= at) return
  bytes.fill(value, at, end)
  host.shadow().settle(at, end - at)
}

function copyString(host: StringHost, to: number, from: number, unit: number): number {
  const size = length(host, from, FOREVER, 1, unit)
  const all = size + unit
  if (to < from + all && from < to + all) host.overlap(to, from, all)
  host.writeText(to, all, 0)
  copyWhere(host, to, from, all)
  return size
}

function append(host: StringHost, to: number, from: number, limit: number, unit: number): number {
  const before = length(host, to, FOREVER, 0, unit)
  const size = length(host, from, limit, 1, unit)
  const at = to + before
  // Both strings whole: what is appended to is no string any more while its end is moved.
  if (to < from + size + (size < limit ? unit : 0) && from < at + size + unit) host.overlap(at, from, size)
  host.writeText(to, before + size + unit, 0, before)
  copyWhere(host, at, from, size)
  zero(host, at + size, unit)
  host.keep(0)
  return to
}

function zero(host: StringHost, at: number, size: number): void {
  const bytes = host.memory()
  if (at + size > bytes.length) return
  bytes.fill(0, at, at + size)
  host.shadow().settle(at, size)
}

function copyLimited(host: StringHost, to: number, from: number, limit: number, unit: number): number {
  const size = length(host, from, limit, 1, unit)
  if (to < from + size && from < to + limit) host.overlap(to, from, limit)
  host.writeText(to, limit, 0)
  copyWhere(host, to, from, size)
  const bytes = host.memory()
  const end = Math.min(to + limit, bytes.length)
  if (end > to + size) zero(host, to + size, end - to - size)
  return size
}

function compare(host: StringHost, a: number, b: number, limit: number, strings: boolean, unit = 1): number {
  const bytes = host.memory()
  let i = 0
  let difference = 0
  for (; i + unit <= limit && Math.max(a, b) + i + unit <= bytes.length; i += unit) {
    const x = bytes[a + i] as number
    difference = 0
    let end = x === 0
    for (let k = 0; k < unit && difference === 0; k++) {
      const one = bytes[a + i + k] as number
      difference = one - (bytes[b + i + k] as number)
      end &&= one === 0
    }
    if (difference !== 0 || (strings && end)) {
      i += unit
      break
    }
  }
  const read = Math.min(limit, Math.max(i, limit === FOREVER ? unit : 0))
  if (host.readDefined(a, read, 0)) host.readDefined(b, read, 1)
  return difference
}

function search(host: StringHost, at: number, value: number, size: number): number {
  const index = host
    .memory()
    .subarray(at, at + size)
    .indexOf(value & 0xff)
  host.readDefined(at, index < 0 ? size : index + 1, 0)
  if (index < 0) return 0
  host.keep(0)
  return at + index
}

function searchBack(host: StringHost, at: number, value: number, size: number): number {
  const index = host
    .memory()
    .subarray(at, at + size)
    .lastIndexOf(value & 0xff)
  host.readDefined(at + Math.max(index, 0), size - Math.max(index, 0), 0)
  if (index < 0) return 0
  host.keep(0)
  return at + index
}

/** strchr and friends: the place of a character in a string, its end where that is asked for. */
function inString(host: StringHost, at: number, value: number, orEnd: boolean): number {
  const wanted = value & 0xff
  const size = length(host, at, FOREVER, 0, 1, wanted)
  const found = (host.memory()[at + size] ?? 0) === wanted
  if (!found && !orEnd) return 0
  host.keep(0)
  return at + size
}

const returning =
  (run: (host: StringHost, ...args: number[]) => void): StringFunction =>
  (host, ...args) => {
    run(host, ...args)
    host.keep(0)
    return args[0] as number
  }

const memcpy = returning((host, to, from, size) =>
  transfer(host, to as number, from as number, size as number, true),
)
const stpcpy: StringFunction = (host, to, from) => {
  host.keep(0)
  return (to as number) + copyString(host, to as number, from as number, 1)
}
const stpncpy: StringFunction = (host, to, from, n) => {
  host.keep(0)
  return (to as number) + copyLimited(host, to as number, from as number, n as number, 1)
}
const strlcpy: StringFunction = (host, to = 0, from = 0, n = 0) => {
  const size = length(host, from, FOREVER, 1)
  if (n === 0) return size
  const fits = Math.min(size, n - 1)
  host.writeText(to, fits + 1, 0)
  copyWhere(host, to, from, fits)
  zero(host, to + fits, 1)
  return size
}
const strlcat: StringFunction = (host, to = 0, from = 0, n = 0) => {
  const before = length(host, to, n, 0)
  if (before === n) return n + length(host, from, FOREVER, 1)
  return before + (strlcpy(host, to + before, from, n - before) as number)
}

/** By the name that the name section gives, or that is exported. */
export const stringFunctions: Readonly<Record<string, StringFunction>> = {
  memcpy,
  memmove: returning((host, to, from, size) =>
    transfer(host, to as number, from as number, size as number, false),
  ),
  mempcpy: (host, to = 0, from = 0, size = 0) => {
    transfer(host, to, from, size, true)
    host.keep(0)
    return to + size
  },
  memset: returning((host, to, value, size) => fill(host, to as number, value as number, size as number)),
  memcmp: (host, a = 0, b = 0, size = 0) => compare(host, a, b, size, false),
  bcmp: (host, a = 0, b = 0, size = 0) => compare(host, a, b, size, false),
  memchr: (host, at = 0, value = 0, size = 0) => search(host, at, value, size),
  memrchr: (host, at = 0, value = 0, size = 0) => searchBack(host, at, value, size),
  __memrchr: (host, at = 0, value = 0, size = 0) => searchBack(host, at, value, size),
  strlen: (host, at = 0) => length(host, at, FOREVER, 0),
  strnlen: (host, at = 0, limit = 0) => length(host, at, limit, 0),
  strcpy: returning((host, to, from) => copyString(host, to as number, from as number, 1)),
  stpcpy,
  __stpcpy: stpcpy,
  strncpy: returning((host, to, from, n) => copyLimited(host, to as number, from as number, n as number, 1)),
  stpncpy,
  __stpncpy: stpncpy,
  strcat: (host, to = 0, from = 0) => append(host, to, from, FOREVER, 1),
  strncat: (host, to = 0, from = 0, n = 0) => append(host, to, from, n, 1),
  strlcpy,
  strlcat,
  strcmp: (host, a = 0, b = 0) => compare(host, a, b, FOREVER, true),
  strncmp: (host, a = 0, b = 0, n = 0) => compare(host, a, b, n, true),
  strchr: (host, at = 0, value = 0) => inString(host, at, value, false),
  index: (host, at = 0, value = 0) => inString(host, at, value, false),
  strchrnul: (host, at = 0, value = 0) => inString(host, at, value, true),
  __strchrnul: (host, at = 0, value = 0) => inString(host, at, value, true),
  strrchr: (host, at = 0, value = 0) => searchBack(host, at, value, length(host, at, FOREVER, 0) + 1),
  wcslen: (host, at = 0) => length(host, at, FOREVER, 0, 4) / 4,
  wcsnlen: (host, at = 0, n = 0) => length(host, at, 4 * n, 0, 4) / 4,
  wcscpy: returning((host, to, from) => copyString(host, to as number, from as number, 4)),
  wcsncpy: returning((host, to, from, n) =>
    copyLimited(host, to as number, from as number, 4 * (n as number), 4),
  ),
  wcscat: (host, to = 0, from = 0) => append(host, to, from, FOREVER, 4),
  wcsncat: (host, to = 0, from = 0, n = 0) => append(host, to, from, 4 * n, 4),
  wmemcpy: returning((host, to, from, n) =>
    transfer(host, to as number, from as number, 4 * (n as number), true),
  ),
  wmemmove: returning((host, to, from, n) =>
    transfer(host, to as number, from as number, 4 * (n as number), false),
  ),
}
