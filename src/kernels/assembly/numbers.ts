/**
 * Numbers out of tables of text and JSON: the values of the wanted columns, in the order of the text.
 *
 * The parser can stop after any token and go on from its state: position, column, and what it is in the middle of
 * (`inside`). A token that is a number is never divided: what is readable, up to `limit`, goes some way beyond the
 * end at which it stops. At `limit` the caller puts a byte that ends all tokens: a line end where the backing ends
 * (and then `end` and `limit` are behind it), else a zero.
 */
import { NEAREST, decimal, ended, fives, integer, isHard, tens } from './decimal'

const F64 = 0
const F32 = 1
const I64 = 2 // and i32 is 3

// In the middle of what.
const FIELD = 0
const QUOTED = 1
const REST = 2
const LINE = 3
/** JSON: the column has had its value; the innermost container has had any. */
const FILLED = 4
const SEEN = 8

/** What comes behind a nested container is in no column. */
const NOWHERE: i32 = 0x40000000
const MOST_COLUMNS: i32 = 4096
const wantedColumns: usize = memory.data(4096, 16)

let all: bool = true
let last: i32 = -1 // the last wanted column
let type: i32 = F64
let method: i32 = NEAREST
let delimiter: u8 = 44
let hardList: usize = 0
let out: usize = 0
let outStart: usize = 0

let column: i32 = 0
let inside: i32 = FIELD
let position: usize = 0
let count: i32 = 0
let hards: i32 = 0
let rows: i32 = 0
const MOST_HARD: i32 = 1024

export function columnsTable(): usize {
  return wantedColumns
}
export function fivesTable(): usize {
  return fives
}
export function tensTable(): usize {
  return tens
}

/** What to look for. Delimiter 32 is any run of blanks; 0 is JSON. Hard numbers are noted at `hardAt`: output, text, bytes. */
export function setup(
  wantsAll: bool,
  lastColumn: i32,
  typeNumber: i32,
  methodNumber: i32,
  delimiterByte: i32,
  hardAt: usize,
): void {
  all = wantsAll
  last = lastColumn
  type = typeNumber
  method = methodNumber
  delimiter = <u8>delimiterByte
  hardList = hardAt
}

export function getColumn(): i32 {
  return column
}
export function getInside(): i32 {
  return inside
}
export function getPosition(): usize {
  return position
}
export function getHards(): i32 {
  return hards
}
/** Rows of a table that have ended. */
export function getRows(): i32 {
  return rows
}

function wanted(): bool {
  return all || (column < MOST_COLUMNS && load<u8>(wantedColumns + column) != 0)
}

function width(): usize {
  return type == F64 || type == I64 ? 8 : 4
}

function put(value: f64): void {
  if (type == F64) store<f64>(out, value)
  else if (type == F32) store<f32>(out, <f32>value)
  else if (type == I64) store<i64>(out, 0)
  else store<i32>(out, 0)
  out += width()
  count++
}

/** Parses the number at `at` and puts it; false if there is none that ends in what may follow a number. */
function number(at: usize, quote: bool): bool {
  if (type >= I64) {
    const value = integer(at)
    if (ended == at || !closes(quote)) return false
    if (type == I64) store<i64>(out, value)
    else store<i32>(out, <i32>value)
    out += width()
    count++
    return true
  }
  const value = decimal(at, method)
  const end = ended
  if (end == at || !closes(quote)) return false
  if (isHard) {
    store<u32>(hardList + 12 * hards, <u32>(out - outStart))
    store<u32>(hardList + 12 * hards, <u32>at, 4)
    store<u32>(hardList + 12 * hards, <u32>(end - at), 8)
    hards++
  }
  put(value)
  return true
}

/** Whether the number that has just been parsed ends there; leaves `position` at the delimiter or line end behind it. */
function closes(quote: bool): bool {
  let at = ended
  let c = load<u8>(at)
  if (quote) {
    if (c != 34) return false
    c = load<u8>(++at)
  }
  if (delimiter == 0) {
    position = at
    return c == 44 || c == 93 || c == 125 || c <= 32
  }
  while (c == 32 || c == 13 || (c == 9 && delimiter != 9)) {
    if (delimiter == 32 && c != 13) break
    c = load<u8>(++at)
  }
  position = at
  return c == delimiter || c == 10 || (delimiter == 32 && c == 9)
}

/** The first of three bytes in [at, end), or end. */
function find(at: usize, end: usize, a: u8, b: u8, c: u8): usize {
  while (at + 16 <= end) {
    const v = v128.load(at)
    const hit = i8x16.bitmask(
      v128.or(
        v128.or(i8x16.eq(v, i8x16.splat(<i8>a)), i8x16.eq(v, i8x16.splat(<i8>b))),
        i8x16.eq(v, i8x16.splat(<i8>c)),
      ),
    )
    if (hit != 0) return at + <usize>ctz(hit)
    at += 16
  }
  while (at < end) {
    const byte = load<u8>(at)
    if (byte == a || byte == b || byte == c) return at
    at++
  }
  return end
}

/** Puts a NaN (0) for every wanted column from `from` on that the row lacks. */
function complete(from: i32): void {
  if (all) return
  for (column = from; column <= last; column++) if (wanted()) put(NaN)
}

/**
 * Parses the tokens that begin in [at, end), or fewer if `room` bytes of output are full; the number of values. Then
 * `position`, `column` and `inside` say where to go on, and `hards` numbers wait for a better judge.
 */
export function parse(
  at: usize,
  end: usize,
  limit: usize,
  columnAt: i32,
  insideAt: i32,
  to: usize,
  room: usize,
): i32 {
  column = columnAt
  inside = insideAt
  out = to
  outStart = to
  count = 0
  hards = 0
  rows = 0
  const full = to + room
  position = at
  if (delimiter == 0) json(end, limit, full)
  else table(end, limit, full)
  return count
}

function table(end: usize, limit: usize, full: usize): void {
  const tab: u8 = delimiter == 32 ? 9 : delimiter
  while (position < end && out < full && hards < MOST_HARD) {
    let at = position
    if (inside == QUOTED) {
      // Until a quote that is not doubled.
      at = find(at, end, 34, 34, 34)
      position = at
      if (at == end) return
      position = at + 1
      if (load<u8>(at, 1) == 34 && at + 1 < limit) position = at + 2
      else inside = REST
      continue
    }
    if (inside == LINE) {
      at = find(at, end, 10, 10, 10)
      position = at
      if (at == end) return
      position++
      inside = FIELD
      continue
    }
    if (inside == REST) {
      at = find(at, end, delimiter, tab, 10)
      position = at
      if (at == end) return
      inside = FIELD
      close()
      continue
    }
    // A field begins.
    let c = load<u8>(at)
    while (c == 32 || c == 13 || (c == 9 && delimiter != 9)) c = load<u8>(++at)
    if (at >= limit) {
      // Blanks up to where we can see.
      position = at
      return
    }
    if (c == 10) {
      position = at
      if (column == 0) position++
      else if (delimiter == 32) {
        complete(column)
        column = 0
        rows++
        position++
      } else {
        if (wanted()) put(NaN)
        close()
      }
      continue
    }
    if (column == 0 && c == 35) {
      position = at
      inside = LINE
      continue
    }
    const quote = c == 34
    if (!wanted()) {
      position = quote ? at + 1 : at
      inside = quote ? QUOTED : REST
      continue
    }
    if (number(quote ? at + 1 : at, quote)) {
      close()
      continue
    }
    put(NaN)
    position = quote ? at + 1 : at
    inside = quote ? QUOTED : REST
  }
}

/** A field has ended at the delimiter or line end at `position`. */
function close(): void {
  if (load<u8>(position) == 10) {
    complete(column + 1)
    column = 0
    rows++
  } else column++
  position++
}

function json(end: usize, limit: usize, full: usize): void {
  while (position < end && out < full && hards < MOST_HARD) {
    let at = position
    if ((inside & QUOTED) != 0) {
      at = find(at, end, 34, 92, 34)
      position = at
      if (at == end) return
      if (load<u8>(at) == 92) position = at + 2
      else {
        position = at + 1
        inside &= ~QUOTED
      }
      continue
    }
    const c = load<u8>(at)
    position = at + 1
    if (c <= 32 || c == 58) continue
    if (c == 34) inside |= QUOTED | SEEN
    else if (c == 44) {
      if (column < NOWHERE) {
        if (!all && (inside & FILLED) == 0 && wanted()) put(NaN)
        column++
      }
      inside &= SEEN
    } else if (c == 91 || c == 123) {
      column = 0
      inside = FIELD
    } else if (c == 93 || c == 125) {
      const filled = (inside & FILLED) != 0
      if (column < NOWHERE && (inside & SEEN) != 0) complete(filled ? column + 1 : column)
      column = NOWHERE
      inside = FIELD
    } else {
      // A number, NaN, Infinity; or a word.
      const may = c == 45 || c == 43 || <u32>c - 48 < 10 || c == 78 || c == 73
      if (may && wanted() && number(at, false)) inside |= FILLED | SEEN
      else {
        position = tokenEnd(at, limit)
        inside |= SEEN
      }
    }
  }
}

/** Behind a number or a word. */
function tokenEnd(at: usize, limit: usize): usize {
  while (at < limit) {
    const c = load<u8>(at)
    if (c == 44 || c == 93 || c == 125 || c == 58 || c == 34 || c <= 32) break
    at++
  }
  return at
}
