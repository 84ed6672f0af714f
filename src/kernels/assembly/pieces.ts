/**
 * Pieces: parts of a page that lie in a file, from 16 bytes up, wherever in the page they begin.
 *
 * The anchors of the search (sample.ts) are one in 256 bytes and look at 32: right for whole pages, too rare for a line
 * of text. Here the rule is the same with fewer zero bits asked of the hash, and the tag is of 16 bytes. A position
 * is never an anchor where the bytes repeat with a period of 8 or less, or are mostly zero.
 *
 * Two tables of 8-byte entries, open addressing, the slot from a tag's high bits:
 *   index   24 bits of the tag · 40 bits of position + 1. A tag keeps at most four positions.
 *   trial   24 bits of the tag · 8 bits of the plane · 1 bit: hit, and a bit that it is taken. Says which files are worth an index.
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript
import { hashFour, hashOne, repeats, FACTORS } from './sample'

export { hashPage, isZero } from './pages'

const FOUR: i32 = 4
/** Bytes that the anchor rule looks at: 16 of the tag, and 8 for the period. */
const SPAN: usize = 24
const TAKEN: u64 = 1 << 9
const HIT: u64 = 1 << 8

let table: usize = 0
let slots: u64 = 0
let used: u32 = 0
let room: u32 = 0
let list: usize = 0
let touched: u64 = 0

/** Says where the table lies (zeroed) and where addresses of anchors may be put, four bytes each. */
export function setup(tableAt: usize, slotCount: u32, listAt: usize): void {
  table = tableAt
  slots = slotCount
  used = 0
  room = slotCount - slotCount / 6
  list = listAt
}

export function isFull(): bool {
  return used >= room
}

function tag16(p: usize): u32 {
  const M: u64 = 0x9e3779b97f4a7c15
  let a: u64 = (load<u64>(p) ^ 0x2545f4914f6cdd1d) * M
  a = (rotl(a, 31) ^ load<u64>(p, 8)) * 0xbf58476d1ce4e5b9
  a = (a ^ (a >> 29)) * 0x94d049bb133111eb
  return <u32>(a >> 32)
}

/** Whether at least 12 of the 16 bytes at p are zero. */
function isBlank(p: usize): bool {
  return popcnt(i8x16.bitmask(i8x16.eq(v128.load(p), i8x16.splat(0)))) >= 12
}

/**
 * Lists the addresses of the anchors that begin in [at, end - SPAN]: where the hash begins with `bits` zeros, and the
 * address is a multiple of `align` from `at`. Gives the end of the list. Reads up to 24 bytes beyond `end`.
 */
function anchors(at: usize, end: usize, bits: u32, align: usize): usize {
  let out = list
  if (at + SPAN > end) return out
  const last = end - SPAN
  const shift = 32 - bits
  if (align > 1) {
    for (let q = at; q <= last; q += align) {
      if (hashOne(q) >> shift != 0 || repeats(q) || isBlank(q)) continue
      store<u32>(out, <u32>q)
      out += 4
    }
    return out
  }
  const m1 = v128.load(FACTORS)
  const m2 = v128.load(FACTORS, 16)
  const add = v128.load(FACTORS, 32)
  const zero = i32x4.splat(0)
  for (let p = at; p <= last; p += 16) {
    const c0 = i32x4.eq(i32x4.shr_u(hashFour(p, m1, m2, add), shift), zero)
    const c1 = i32x4.eq(i32x4.shr_u(hashFour(p + 1, m1, m2, add), shift), zero)
    const c2 = i32x4.eq(i32x4.shr_u(hashFour(p + 2, m1, m2, add), shift), zero)
    const c3 = i32x4.eq(i32x4.shr_u(hashFour(p + 3, m1, m2, add), shift), zero)
    const lanes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(c0, c1), i16x8.narrow_i32x4_s(c2, c3))
    let mask = i8x16.bitmask(
      i8x16.shuffle(lanes, lanes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
    )
    while (mask) {
      const q = p + <usize>ctz(mask)
      mask &= mask - 1
      if (q > last) break
      if (repeats(q) || isBlank(q)) continue
      store<u32>(out, <u32>q)
      out += 4
    }
  }
  return out
}

/** Loads the table where the anchors of the list lie: independent loads overlap, those of look-ups hardly do. */
function touch(end: usize): void {
  let sum: u64 = 0
  for (let r = list; r < end; r += 4)
    sum ^= load<u64>(table + ((<usize>((<u64>tag16(load<u32>(r)) * slots) >> 32)) << 3))
  touched ^= sum
}

/** Indexes the anchors of `length` bytes at `at`, which lie at `position`. */
export function insertBlock(at: usize, length: i32, position: f64, bits: u32, align: u32): void {
  const end = anchors(at, at + <usize>length, bits, align)
  touch(end)
  for (let r = list; r < end; r += 4) {
    if (used >= room) return
    const p = <usize>load<u32>(r)
    const tag = tag16(p)
    const mark = (<u64>(tag & 0xffffff)) << 40
    const entry = mark | (<u64>position + <u64>(p - at) + 1)
    let slot = (<u64>tag * slots) >> 32
    let same = 0
    while (true) {
      const here = table + ((<usize>slot) << 3)
      const there = load<u64>(here)
      if (there == 0) {
        store<u64>(here, entry)
        used++
        break
      }
      if ((there ^ mark) < 1 << 40 && ++same == FOUR) break
      if (++slot == slots) slot = 0
    }
  }
}

/**
 * Looks up the anchors of `length` bytes at `at`. For each that is known writes 40 bytes to `out`: u32 offset · u32 number
 * of positions · 4 × f64 positions; gives their number.
 */
export function probe(at: usize, length: i32, bits: u32, align: u32, out: usize): i32 {
  const end = anchors(at, at + <usize>length, bits, align)
  touch(end)
  let found = 0
  for (let r = list; r < end; r += 4) {
    const p = <usize>load<u32>(r)
    const tag = tag16(p)
    const mark = (<u64>(tag & 0xffffff)) << 40
    const record = out + <usize>found * 40
    let slot = (<u64>tag * slots) >> 32
    let n: u32 = 0
    while (true) {
      const there = load<u64>(table + ((<usize>slot) << 3))
      if (there == 0) break
      if ((there ^ mark) < 1 << 40) {
        store<f64>(record + 8 + <usize>n * 8, <f64>((there & 0xffffffffff) - 1))
        if (++n == FOUR) break
      }
      if (++slot == slots) slot = 0
    }
    if (n == 0) continue
    store<u32>(record, <u32>(p - at))
    store<u32>(record, n, 4)
    found++
  }
  return found
}

/** Puts the anchors of a part of memory on trial; gives their number. `plane` is below 256. */
export function tryMemory(at: usize, length: i32, plane: u32, bits: u32, align: u32): i32 {
  const end = anchors(at, at + <usize>length, bits, align)
  let n = 0
  for (let r = list; r < end && used < room; r += 4) {
    const tag = tag16(load<u32>(r))
    const mark = ((<u64>(tag & 0xffffff)) << 40) | TAKEN | <u64>plane
    let slot = (<u64>tag * slots) >> 32
    while (true) {
      const here = table + ((<usize>slot) << 3)
      const there = load<u64>(here)
      if (there == 0) {
        store<u64>(here, mark)
        used++
        n++
        break
      }
      // An anchor that comes again and again counts once.
      if ((there | HIT) == (mark | HIT)) break
      if (++slot == slots) slot = 0
    }
  }
  return n
}

/** Counts in `counts` (u32 a plane) the anchors on trial that these bytes of a file hit and none has hit before. */
export function tryFile(at: usize, length: i32, bits: u32, align: u32, counts: usize): void {
  const end = anchors(at, at + <usize>length, bits, align)
  for (let r = list; r < end; r += 4) {
    const tag = tag16(load<u32>(r))
    const mark = (<u64>(tag & 0xffffff)) << 40
    let slot = (<u64>tag * slots) >> 32
    while (true) {
      const here = table + ((<usize>slot) << 3)
      const there = load<u64>(here)
      if (there == 0) break
      if ((there ^ mark) < 1 << 40 && (there & HIT) == 0) {
        store<u64>(here, there | HIT)
        const counter = counts + ((<usize>(there & 0xff)) << 2)
        store<u32>(counter, load<u32>(counter) + 1)
      }
      if (++slot == slots) slot = 0
    }
  }
}

/**
 * How far memory at `m` and the file at `f` are equal: bytes before (down to `low` and `fileLow`) × 65536 + bytes from
 * there on (up to `high` and `fileHigh`).
 */
export function extend(m: usize, low: usize, high: usize, f: usize, fileLow: usize, fileHigh: usize): i32 {
  const most = min(high - m, fileHigh - f)
  let forward: usize = 0
  while (forward + 16 <= most && v128.load(m + forward) == v128.load(f + forward)) forward += 16
  while (forward < most && load<u8>(m + forward) == load<u8>(f + forward)) forward++
  const behind = min(m - low, f - fileLow)
  let back: usize = 0
  while (back < behind && load<u8>(m - back - 1) == load<u8>(f - back - 1)) back++
  return <i32>((back << 16) | forward)
}

/**
 * Where in memory, among the `reach` positions from `m` on, does the file go on that a piece ended in at `f`? A separator
 * of up to three bytes may be left out. Gives memory's distance + 65536 × the file's, or -1.
 */
export function goesOn(m: usize, high: usize, f: usize, fileHigh: usize, reach: i32): i32 {
  for (let d: usize = 0; d < 4; d++) {
    const q = f + d
    if (q + 16 > fileHigh) return -1
    if (isBlank(q)) continue
    const pattern = v128.load(q)
    const stop = min(high - 15, m + <usize>reach)
    for (let p = m; p < stop; p++) if (v128.load(p) == pattern) return <i32>((d << 16) | (p - m))
  }
  return -1
}

/**
 * Which of the places in a part of the file where the 16 bytes at `m` stand is in the longest piece? Gives its distance from `fileLow`,
 * or -1.
 */
export function nearby(m: usize, low: usize, high: usize, fileLow: usize, fileHigh: usize): i32 {
  const pattern = v128.load(m)
  const first = i8x16.splat(load<i8>(m))
  const second = i8x16.splat(load<i8>(m + 1))
  let best = 0
  let at = -1
  for (let q = fileLow; q + 48 <= fileHigh; q += 16) {
    let hits = i8x16.bitmask(v128.and(i8x16.eq(v128.load(q), first), i8x16.eq(v128.load(q, 1), second)))
    for (; hits != 0; hits &= hits - 1) {
      const place = q + <usize>ctz(hits)
      if (v128.load(place) != pattern) continue
      const both = extend(m, low, high, place, fileLow, fileHigh)
      const length = (both >>> 16) + (both & 0xffff)
      if (length > best) {
        best = length
        at = <i32>(place - fileLow)
      }
    }
  }
  return at
}

/** How many of `length` bytes at `at` are zero. */
export function zeros(at: usize, length: i32): i32 {
  let n = 0
  const end = at + <usize>length
  for (; at + 16 <= end; at += 16) n += popcnt(i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(0))))
  for (; at < end; at++) if (load<u8>(at) == 0) n++
  return n
}

/** Writes the elements of `width` bytes (4 or 8) that stand every `stride` bytes from `column` on; gives their number. */
export function gather(at: usize, length: i32, stride: i32, column: i32, width: i32, out: usize): i32 {
  let n = 0
  for (let p = column; p + width <= length; p += stride) {
    if (width == 8) store<u64>(out + ((<usize>n) << 3), load<u64>(at + p))
    else store<u32>(out + ((<usize>n) << 2), load<u32>(at + p))
    n++
  }
  return n
}

/** Words from one to the next in the sequences that are looked for. */
const STEPS: usize = 16
const steps: usize = memory.data<u8>([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32])

/**
 * Arithmetic sequences of the page's words that are not covered (`mask`: a byte for each of the page). Writes 24 bytes
 * for each to `out`: u16 first word · u16 words from one to the next · u16 number · u64 first · u64 difference, at 0,
 * 2, 4, 8, 16; marks their bytes as covered; gives their number.
 */
export function sequences(at: usize, mask: usize, out: usize): i32 {
  let found = 0
  for (let i = 0; i < 512; i++) {
    if (load<u64>(mask + ((<usize>i) << 3)) != 0) continue
    const first = load<u64>(at + ((<usize>i) << 3))
    let longest = 0
    let best = 0
    let worth = 0
    for (let j: usize = 0; j < STEPS; j++) {
      const s = <i32>load<u8>(steps + j)
      if (i + s >= 512 || load<u64>(mask + ((<usize>(i + s)) << 3)) != 0) continue
      const delta = load<u64>(at + ((<usize>(i + s)) << 3)) - first
      let n = 2
      let k = i + 2 * s
      let value = first + 2 * delta
      while (
        k < 512 &&
        load<u64>(at + ((<usize>k) << 3)) == value &&
        load<u64>(mask + ((<usize>k) << 3)) == 0
      ) {
        n++
        k += s
        value += delta
      }
      // What it costs, in words.
      const gain = n - (delta == 0 ? 3 : 4)
      if (gain > worth) {
        worth = gain
        longest = n
        best = s
      }
    }
    if (worth <= 0) continue
    const record = out + <usize>found * 24
    store<u16>(record, <u16>i)
    store<u16>(record, <u16>best, 2)
    store<u16>(record, <u16>longest, 4)
    store<u64>(record, first, 8)
    store<u64>(record, load<u64>(at + ((<usize>(i + best)) << 3)) - first, 16)
    found++
    for (let k = 0; k < longest; k++) store<u64>(mask + ((<usize>(i + k * best)) << 3), 0x0101010101010101)
  }
  return found
}

/** Writes the page's bytes that `mask` leaves to `out`; their number + 65536 × the number of those that are not zero. */
export function leftOver(at: usize, mask: usize, out: usize): i32 {
  let n = 0
  let other = 0
  for (let i: usize = 0; i < 4096; i += 8) {
    const covered = load<u64>(mask + i)
    if (covered == 0x0101010101010101) continue
    if (covered == 0) {
      store<u64>(out + n, load<u64>(at + i))
      for (let k: usize = 0; k < 8; k++) if (load<u8>(at + i + k)) other++
      n += 8
      continue
    }
    for (let k = i; k < i + 8; k++) {
      if (load<u8>(mask + k)) continue
      const byte = load<u8>(at + k)
      store<u8>(out + n, byte)
      n++
      if (byte) other++
    }
  }
  return n | (other << 16)
}
