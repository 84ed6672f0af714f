/**
 * Records that a format of scanf describes, as C structs.
 *
 * A format is a program of 16-byte steps (u8 operation, u8 type, u16 width, u32 offset in the record, u32 argument, u32 argument):
 *
 *   SPACE               any white space
 *   BYTE    argument    this byte
 *   INTEGER base        white space, then an integer; base 0 is what its prefix says
 *   FLOAT               white space, then a floating-point number
 *   WORD    room        white space, then what is no white space, and a zero behind it
 *   BYTES   count       so many bytes
 *   SET     room, set   bytes of a set (32 bytes of bits, at this address), and a zero behind them
 *   COUNT               the bytes read so far
 *
 * type 255: what is read is not kept. Integers beyond 64 bits become the nearest that fits, and are then cut to the
 * field, as glibc does it.
 */
import { NEAREST, decimal, ended, fives, isHard, tens } from './decimal'

const SPACE = 0
const BYTE = 1
const INTEGER = 2
const FLOAT = 3
const WORD = 4
const BYTES = 5
// 6 is SET.
const COUNT = 7
const SKIPPED = 255

// Types: the exponent of the width, and what it is.
const I8 = 0
const I16 = 1
const I32 = 2
const I64 = 3
const F32 = 4

const DONE = 0
const MORE = 1
const MISMATCH = 2

let program: usize = 0
let steps: i32 = 0
let bytes: usize = 0
let kept: i32 = 0

let position: usize = 0
let status: i32 = DONE
let stopped: usize = 0
let hards: i32 = 0

const scratch: usize = memory.data(2048, 16)

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
export function getStopped(): usize {
  return stopped
}
export function getHards(): i32 {
  return hards
}

/** A program of `count` steps that makes records of `recordBytes` bytes, of which `keptSteps` keep what they read. */
export function setup(at: usize, count: i32, recordBytes: i32, keptSteps: i32): void {
  program = at
  steps = count
  bytes = recordBytes
  kept = keptSteps
}

function isSpace(c: u32): bool {
  return c == 32 || c - 9 < 5
}

function space(at: usize, limit: usize): usize {
  while (at < limit && isSpace(load<u8>(at))) at++
  return at
}

function digit(c: u32): u32 {
  if (c - 48 < 10) return c - 48
  const letter = (c | 32) - 97
  return letter < 26 ? letter + 10 : 99
}

/** The integer in [at, end) goes to the record; `position` is behind it. False if there is none. */
function integer(start: usize, end: usize, base: u32, type: i32, out: usize): bool {
  let at = start
  let negative = false
  if (at < end && (load<u8>(at) == 45 || load<u8>(at) == 43)) {
    negative = load<u8>(at) == 45
    at++
  }
  let seen = false
  if ((base == 0 || base == 16) && at < end && load<u8>(at) == 48) {
    if (at + 1 < end && (load<u8>(at, 1) | 32) == 120) {
      at += 2
      base = 16
    } else {
      at++
      seen = true
      if (base == 0) base = 8
    }
  }
  if (base == 0) base = 10
  const signed = (type & 128) == 0
  const most: u64 = signed ? <u64>i64.MAX_VALUE + (negative ? 1 : 0) : u64.MAX_VALUE
  let w: u64 = 0
  let large = false
  while (at < end) {
    const d = digit(load<u8>(at))
    if (d >= base) break
    seen = true
    if (w > (most - d) / base) large = true
    else w = w * base + d
    at++
  }
  position = at
  if (!seen) return false
  if (large) w = most
  // An unsigned number that is too large stays so, whatever its sign.
  if (negative && !(large && !signed)) w = 0 - w
  store_(type & 127, w, out)
  return true
}

function store_(type: i32, w: u64, out: usize): void {
  if (type == I8) store<u8>(out, <u8>w)
  else if (type == I16) store<u16>(out, <u16>w)
  else if (type == I32) store<u32>(out, <u32>w)
  else if (type == I64) store<u64>(out, w)
}

/** Behind a hexadecimal floating-point number, whose 0x is at `at`; what it is somebody else says. */
function hexEnd(at: usize, end: usize): usize {
  at += 2
  while (at < end && (digit(load<u8>(at)) < 16 || load<u8>(at) == 46)) at++
  if (at < end && (load<u8>(at) | 32) == 112) {
    let next = at + 1
    if (next < end && (load<u8>(next) == 45 || load<u8>(next) == 43)) next++
    if (next < end && digit(load<u8>(next)) < 10) {
      while (next < end && digit(load<u8>(next)) < 10) next++
      at = next
    }
  }
  return at
}

function float(start: usize, end: usize, width: u32, type: i32, out: usize, hardAt: usize): bool {
  let at = start
  if (width != 0) {
    // The number may not see what follows.
    const n = min(<usize>width, min(end - start, 1024))
    memory.copy(scratch, start, n)
    store<u64>(scratch + n, 0)
    at = scratch
  }
  const sign: usize = load<u8>(at) == 45 || load<u8>(at) == 43 ? 1 : 0
  const isHex = load<u8>(at + sign) == 48 && (load<u8>(at + sign, 1) | 32) == 120
  let value: f64 = 0
  let hard = isHex
  let behind: usize
  if (isHex) behind = hexEnd(at + sign, width != 0 ? at + <usize>width : end)
  else {
    value = decimal(at, NEAREST)
    behind = ended
    if (behind == at) return false
    hard = isHard
  }
  const length = behind - at
  position = start + length
  if (type == SKIPPED) return true
  if (type == F32) {
    const bits = reinterpret<u64>(abs(value))
    // In the middle between two floats, or where floats have fewer bits: the double may have been rounded to there.
    if ((bits & 0x1fffffff) == 0x10000000 || (abs(value) < 1.1754943508222875e-38 && bits != 0)) hard = true
    store<f32>(out, <f32>value)
  } else store<f64>(out, value)
  if (hard) {
    store<u32>(hardAt + 16 * hards, <u32>out)
    store<u32>(hardAt + 16 * hards, <u32>start, 4)
    store<u32>(hardAt + 16 * hards, <u32>length, 8)
    store<u32>(hardAt + 16 * hards, type, 12)
    hards++
  }
  return true
}

/** One record at `at`: how many of the steps that keep something did; `position` is where reading stopped. */
function record(start: usize, limit: usize, out: usize, hardAt: usize): i32 {
  let at = start
  let done = 0
  memory.fill(out, 0, bytes)
  for (let i = 0, step = program; i < steps; i++, step += 16) {
    const operation = load<u8>(step)
    const type = <i32>load<u8>(step, 1)
    const width = <u32>load<u16>(step, 2)
    const argument = load<u32>(step, 8)
    const to = out + load<u32>(step, 4)
    if (operation == SPACE) {
      at = space(at, limit)
      continue
    }
    if (operation == BYTE) {
      if (at >= limit || load<u8>(at) != argument) break
      at++
      continue
    }
    if (operation == COUNT) {
      if (type != SKIPPED) {
        store_(type & 127, at - start, to)
        done++
      }
      continue
    }
    if (<i32>operation <= WORD) at = space(at, limit)
    const end = width == 0 ? limit : min(limit, at + width)
    position = at
    let good: bool
    if (operation == INTEGER) good = at < end && integer(at, end, argument, type, to)
    else if (operation == FLOAT) good = at < end && float(at, end, width, type, to, hardAt)
    else if (operation == BYTES) {
      good = limit - at >= argument
      if (good && type != SKIPPED) memory.copy(to, at, argument)
      position = good ? at + argument : limit
    } else {
      const set = <usize>load<u32>(step, 12)
      while (position < end) {
        const c = <u32>load<u8>(position)
        if (operation == WORD ? isSpace(c) : ((load<u8>(set + (c >> 3)) >> <u8>(c & 7)) & 1) == 0) break
        position++
      }
      good = position > at
      // What is longer than its room is a mismatch: in C it would be written behind the field.
      if (good && type != SKIPPED) {
        if (position - at >= argument) good = false
        else memory.copy(to, at, position - at)
      }
    }
    at = position
    if (!good) break
    if (type != SKIPPED) done++
  }
  position = at
  return done
}

/**
 * Records that begin in [at, end), `room` at most, to `out`; how many. `last`: nothing follows the limit, at which is a
 * zero. A record that reaches the limit where more follows is left alone.
 */
export function rows(
  at: usize,
  end: usize,
  limit: usize,
  out: usize,
  room: i32,
  last: bool,
  hardAt: usize,
): i32 {
  let count = 0
  status = DONE
  hards = 0
  while (at < end && count < room) {
    const before = hards
    const done = record(at, limit, out, hardAt)
    // A token that ends at the limit may go on behind it.
    if (position + 16 >= limit && !last) {
      status = MORE
      hards = before
      break
    }
    if (done < kept) {
      hards = before
      // White space at the end is no record.
      if (last && done == 0 && space(at, limit) >= limit) at = limit
      else {
        status = MISMATCH
        stopped = position
      }
      break
    }
    if (position == at) {
      status = MISMATCH
      stopped = position
      break
    }
    at = position
    count++
    out += bytes
  }
  position = at
  return count
}
