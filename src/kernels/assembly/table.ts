/**
 * Rows and fields of a table of text (RFC 4180, or divided by blanks), and the numbers in its fields.
 *
 *   rows    finds row after row in what is readable, 64 bytes at a time, as bit masks: line ends, and *marks*. A mark is a
 *           delimiter, or where blanks divide, the first byte of a field. Counting marks up to the line end says how many
 *           fields a row has; the mark with the number of the wanted column says where its field begins.
 *   values  makes numbers of the fields that begin where `rows` said.
 *
 * A row is complete when its line end is readable: the caller puts one at the end of the text. Empty lines are no rows.
 * Every call begins at the start of a row, so that nothing but a position is carried from call to call.
 */
import { NEAREST, decimal, ended, fives, isHard, tens } from './decimal'

// What `rows` ended with.
const DONE = 0
/** The row at `position` has no end up to the limit. */
const MORE = 1
/** The row at `position` has `detail` fields. */
const RAGGED = 2
/** At `detail` a quote opens within a field. */
const QUOTE = 3

const F64 = 0
const I64 = 2 // f32 is 1, i32 is 3
const NONE: i32 = 256
/** A delimiter that divides nothing: rows are lines of JSON. */
const JSON: i32 = 257
const MOST_COLUMNS: i32 = 65536
/** For each column its place among the wanted ones, or -1. */
const slots: usize = memory.data(65536 * 4, 16)

let delimiter: i32 = 44
let quote: i32 = 34
let comment: i32 = NONE
let blanks: bool = false
let columns: i32 = 0
let only: i32 = -1
let wanted: i32 = 0

let position: usize = 0
let status: i32 = DONE
let detail: i32 = 0
let hards: i32 = 0

export function slotsTable(): usize {
  return slots
}
export function fivesTable(): usize {
  return fives
}
export function tensTable(): usize {
  return tens
}
export function getPosition(): usize {
  return position
}
export function getStatus(): i32 {
  return status
}
export function getDetail(): i32 {
  return detail
}
export function getHards(): i32 {
  return hards
}

/**
 * Bytes, 256 for none; a delimiter of 32 is any run of blanks. `expected` fields make a row, 0 for any number. `onlyColumn` is the
 * column of which fields are wanted if it is one, else -1, and `slots` says which `wantedColumns` of them are.
 */
export function setup(
  delimiterByte: i32,
  quoteByte: i32,
  commentByte: i32,
  expected: i32,
  onlyColumn: i32,
  wantedColumns: i32,
): void {
  delimiter = delimiterByte
  quote = quoteByte
  comment = commentByte
  blanks = delimiterByte == 32
  columns = expected
  only = onlyColumn
  wanted = wantedColumns
}

function equal(at: usize, byte: i32): u64 {
  const splat = i8x16.splat(<i8>byte)
  const a = <u64>(<u32>i8x16.bitmask(i8x16.eq(v128.load(at), splat)))
  const b = <u64>(<u32>i8x16.bitmask(i8x16.eq(v128.load(at, 16), splat)))
  const c = <u64>(<u32>i8x16.bitmask(i8x16.eq(v128.load(at, 32), splat)))
  const d = <u64>(<u32>i8x16.bitmask(i8x16.eq(v128.load(at, 48), splat)))
  return a | (b << 16) | (c << 32) | (d << 48)
}

/** Each bit: the parity of the bits up to it. */
function parity(bits: u64): u64 {
  bits ^= bits << 1
  bits ^= bits << 2
  bits ^= bits << 4
  bits ^= bits << 8
  bits ^= bits << 16
  return bits ^ (bits << 32)
}

function lineEnd(at: usize, limit: usize): usize {
  for (; at < limit; at += 64) {
    const hits = equal(at, 10)
    if (hits != 0) return min(at + <usize>ctz(hits), limit)
  }
  return limit
}

/** The first byte of the next row from `at` on, behind empty lines and comments; `limit` with MORE where that can't be said yet. */
function nextRow(at: usize, end: usize, limit: usize): usize {
  while (at < end) {
    if (at >= limit) break
    const c = <i32>load<u8>(at)
    if (c == 10) at++
    else if (c == 13) {
      if (at + 1 >= limit) break
      if (load<u8>(at, 1) != 10) return at
      at += 2
    } else if (c == comment) {
      const line = lineEnd(at, limit)
      if (line >= limit) break
      at = line + 1
    } else return at
  }
  if (at < end) status = MORE
  return at
}

/** Where the fields of a part of a row begin, of which `seen` marks came before; and the number of marks now. */
function take(marks: u64, base: usize, seen: i32, out: usize): i32 {
  const count = <i32>popcnt(marks)
  const past = blanks ? 0 : 1
  if (only >= 0) {
    const nth = only - past - seen
    if (<u32>nth < <u32>count) {
      let bits = marks
      for (let i = nth; i > 0; i--) bits &= bits - 1
      store<u32>(out, <u32>(base + <usize>ctz(bits)) + past)
    }
  } else if (wanted > 0) {
    let column = seen + past
    for (let bits = marks; bits != 0 && column < MOST_COLUMNS; bits &= bits - 1, column++) {
      const slot = load<i32>(slots + 4 * column)
      if (slot >= 0) store<u32>(out + 4 * slot, <u32>(base + <usize>ctz(bits)) + past)
    }
  }
  return seen + count
}

/** Before a row: its first field, and that the others are not there. */
function begin(row: usize, out: usize): void {
  if (wanted == 1 && only >= 0) store<u32>(out, only == 0 && !blanks ? <u32>row : 0)
  else if (wanted > 0) {
    for (let i = 0; i < wanted; i++) store<u32>(out + 4 * i, 0)
    if (!blanks && load<i32>(slots) >= 0) store<u32>(out + 4 * load<i32>(slots), <u32>row)
  }
}

/**
 * The rows that begin in [at, end) and end before `limit`, `room` of them at most; how many. For each, `out` gets the
 * addresses at which its wanted fields begin, 0 where it has none. `status` and `position` say how to go on.
 */
export function rows(at: usize, end: usize, limit: usize, out: usize, room: i32): i32 {
  let count = 0
  status = DONE
  let row = at
  while (count < room) {
    row = nextRow(row, end, limit)
    if (row >= end || status != DONE) break
    let base = row
    let seen = 0
    let inside: u64 = 0 // all ones within quotes
    let legal: u64 = 1 // a quote may open at bit 0
    let before: u64 = 0 // the byte before bit 0 is of a field
    begin(row, out)
    // One turn a block, until a row begins that nextRow has to look at.
    for (;;) {
      if (base >= limit) {
        position = row
        status = MORE
        return count
      }
      let ends = equal(base, 10)
      let marks: u64
      const beyond: u64 = limit - base < 64 ? ~(((<u64>1) << (<u64>(limit - base))) - 1) : 0
      if (blanks) {
        const fields = ~(ends | equal(base, 32) | equal(base, 9) | equal(base, 13)) & ~beyond
        marks = fields & ~((fields << 1) | before)
        before = fields >> 63
      } else marks = delimiter == JSON ? 0 : equal(base, delimiter) & ~beyond
      ends &= ~beyond
      let opens: u64 = 0
      if (quote != NONE) {
        const quotes = equal(base, quote) & ~beyond
        if ((quotes | inside) != 0) {
          const quoted = parity(quotes) ^ inside
          // What lies behind an illegal quote is not looked at: it may be in a comment, and else ends the search.
          opens = quotes & quoted & ~(((marks | ends | quotes) << 1) | legal)
          if (opens != 0) {
            const good = (opens & (0 - opens)) - 1
            marks &= good
            ends &= good
          }
          legal = quotes >> 63
          marks &= ~quoted
          ends &= ~quoted
          inside = <u64>(<i64>quoted >> 63)
        } else legal = 0
        legal |= (marks | ends) >> 63
      }
      let special = false
      while (ends != 0) {
        const first = ends & (0 - ends)
        const upTo = first | (first - 1)
        const total = take(marks & upTo, base, seen, out)
        marks &= ~upTo
        ends ^= first
        seen = 0
        const fields = blanks ? total : total + 1
        if (fields != columns && columns != 0 && !(blanks && fields == 0)) {
          position = row
          status = RAGGED
          detail = fields
          return count
        }
        if (fields != 0) {
          count++
          out += 4 * wanted
        }
        row = base + <usize>ctz(first) + 1
        const c = row < limit ? <i32>load<u8>(row) : 10
        if (count >= room || row >= end || c == 10 || c == 13 || c == comment) {
          special = true
          break
        }
        begin(row, out)
      }
      if (special) break
      if (opens != 0) {
        position = row
        status = QUOTE
        detail = <i32>(base + <usize>ctz(opens))
        return count
      }
      seen = take(marks, base, seen, out)
      base += 64
    }
  }
  position = row
  return count
}

/** The keys of a path, each as JSON text with a zero behind it. */
const path: usize = memory.data(4096, 16)

export function pathTable(): usize {
  return path
}

function blank(at: usize, limit: usize): usize {
  while (at < limit && load<u8>(at) <= 32) at++
  return at
}

/** Behind the string that begins at `at`, or the limit. */
function stringEnd(at: usize, limit: usize): usize {
  for (at++; at < limit; ) {
    const v = v128.load(at)
    const hits = i8x16.bitmask(v128.or(i8x16.eq(v, i8x16.splat(34)), i8x16.eq(v, i8x16.splat(92))))
    if (hits == 0) {
      at += 16
      continue
    }
    at += <usize>ctz(hits)
    if (at >= limit) break
    if (load<u8>(at) == 34) return at + 1
    at += 2
  }
  return limit
}

/** Behind the value that begins at `at`: at the comma or bracket that follows it in its container, or at the line end. */
function valueEnd(at: usize, limit: usize): usize {
  let depth = 0
  while (at < limit) {
    const c = load<u8>(at)
    if (c == 10) return at
    if (c == 34) {
      at = stringEnd(at, limit)
      continue
    }
    if (c == 123 || c == 91) depth++
    else if (c == 125 || c == 93) {
      if (depth == 0) return at
      depth--
    } else if (c == 44 && depth == 0) return at
    at++
  }
  return limit
}

/** Where the value of a key of the object at `at` begins; 0 if it has no such key, or is no object. The last of equal keys counts. */
function member(at: usize, limit: usize, key: usize, bytes: usize): usize {
  let found: usize = 0
  if (at >= limit || load<u8>(at) != 123) return 0
  at = blank(at + 1, limit)
  while (at < limit && load<u8>(at) == 34) {
    const end = stringEnd(at, limit)
    const hit = end - at == bytes && memory.compare(at, key, bytes) == 0
    at = blank(end, limit)
    if (at >= limit || load<u8>(at) != 58) break
    at = blank(at + 1, limit)
    if (hit) found = at
    at = valueEnd(at, limit)
    if (at >= limit || load<u8>(at) != 44) break
    at = blank(at + 1, limit)
  }
  return found
}

/** Replaces addresses of JSON values by those of what a path of keys leads to, 0 where it leads nowhere. */
export function fields(starts: usize, n: i32, limit: usize, keys: i32): void {
  for (let i = 0; i < n; i++, starts += 4) {
    let at = blank(<usize>load<u32>(starts), limit)
    let key = path
    for (let k = 0; k < keys && at != 0; k++) {
      let bytes: usize = 0
      while (load<u8>(key + bytes) != 0) bytes++
      at = member(at, limit, key, bytes)
      key += bytes + 1
    }
    store<u32>(starts, <u32>at)
  }
}

/** Whether what lies at `at` ends a field. */
function closes(at: usize, limit: usize, quoted: bool): bool {
  let c = <i32>load<u8>(at)
  while (c == 32 || (c == 9 && delimiter != 9)) {
    if (blanks) return true
    c = load<u8>(++at)
  }
  if (quoted) {
    if (c != quote) return false
    c = load<u8>(++at)
  }
  if (delimiter == JSON) return c == 44 || c == 125 || c == 93 || c <= 32 || at >= limit
  return c == delimiter || c == 10 || (c == 13 && load<u8>(at, 1) == 10) || (blanks && c == 13) || at >= limit
}

/** 64 bits, and whether they are what the text says. */
let whole: i64 = 0

/** An integer that fits 64 bits; false where there is none that ends a field. */
function integer(at: usize, limit: usize, quoted: bool): bool {
  let c = <u32>load<u8>(at)
  const negative = c == 45
  if (negative || c == 43) c = load<u8>(++at)
  let w: u64 = 0
  const start = at
  while (c - 48 < 10) {
    const digit = <u64>(c - 48)
    const tenth: u64 = u64(i64.MAX_VALUE) / 10
    if (w > tenth || (w == tenth && digit > (negative ? 8 : 7))) return false
    w = w * 10 + digit
    c = load<u8>(++at)
  }
  whole = negative ? -(<i64>w) : <i64>w
  return at > start && closes(at, limit, quoted)
}

function put(out: usize, type: i32, value: f64): void {
  if (type == F64) store<f64>(out, value)
  else store<f32>(out, <f32>value)
}

/**
 * The numbers of `n` fields, whose addresses lie at `starts`, to `out`. A field that is none here is noted as hard: its number
 * (from 0) in the list at `hardAt`. The caller judges it.
 */
export function values(starts: usize, n: i32, type: i32, limit: usize, out: usize, hardAt: usize): void {
  const width: usize = type == F64 || type == I64 ? 8 : 4
  hards = 0
  for (let i = 0; i < n; i++, starts += 4, out += width) {
    let at = <usize>load<u32>(starts)
    let good = at != 0
    if (good) {
      const quoted = load<u8>(at) == quote
      if (quoted) at++
      while (load<u8>(at) == 32 || (load<u8>(at) == 9 && delimiter != 9)) at++
      if (type >= I64) {
        good = integer(at, limit, quoted)
        if (type == I64) store<i64>(out, whole)
        else {
          store<i32>(out, <i32>whole)
          good = good && whole == <i64>(<i32>whole)
        }
      } else {
        const value = decimal(at, NEAREST)
        good = ended != at && !isHard && closes(ended, limit, quoted)
        put(out, type, value)
      }
    }
    if (!good) store<u32>(hardAt + 4 * hards++, i)
  }
}
