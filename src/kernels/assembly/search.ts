/**
 * The index of anchors, and the question put to it: where in the indexed files could this page come from?
 *
 * Table: `slots` entries of 8 bytes, open addressing. Entry: 24 bits of the tag · 40 bits of position + 1.
 * The slot comes from the tag's high bits, so that together they tell all 32 bits of the tag.
 *
 * A tag keeps at most FOUR positions. Content that repeats more often is kept apart by its surroundings: the
 * *ladder*. Order k of an anchor is a hash of the tags and distances of the 2^k anchors that end with it. A
 * position goes to the lowest order that still has room, as long as the anchors of that order span less
 * than a page.
 *
 * What makes the search fast is a law: if a page lies wholly inside an indexed file, then *every* anchor
 * in the page has the page's place among its positions, unless all its orders are full. So one anchor that
 * is in no file, or two that disagree, end the search of a page, mostly before 512 of its bytes are looked at.
 */
import { RECORD, echoes, sample, smallest, tagAt } from './sample'

export { equalPages, equalPrefix, equalSuffix, hashPage, isZero, zeroPages } from './pages'
export { resetRuns, sample, sampleBlock } from './sample'
export { findPaths } from './paths'

const FOUR: i32 = 4
const ORDERS: i32 = 8
const RING: i32 = 256
const PAGE: i32 = 4096
const REACH: u64 = 4096 - 32
/** Records whose places in the table are loaded before they are inserted. */
const AHEAD: usize = 256
const ECHO: u32 = 4
/** Bytes of a ladder. */
const LADDER: usize = 256 * 32 + 256 * 8
const steady: usize = memory.data(32, 16)
/** From this level on, which only a table that was too small or a great many files bring, echoes are too many. */
const NO_ECHOES: u32 = 3
const KIND_SALT: u32 = 0x7feb352d

let table: usize = 0
let slots: u64 = 0
let used: u32 = 0
let room: u32 = 0
let level: u32 = 0
let ladder: usize = 0 // RING entries of ORDERS tags (u32), then RING positions (u64)
let scratch: usize = 0 // positions of one anchor, then places put aside: ORDERS * FOUR (u64) each
let records: usize = 0 // records of one page
let touched: u64 = 0
let count: u64 = 0 // anchors on the ladder since the last reset
let otherCount: u64 = 0 // the same for the other ladder: there is one for anchors and one for echoes
let otherLadder: usize = 0

/** Says where things lie. The table must be zeroed. */
export function setup(
  tableAt: usize,
  slotCount: u32,
  anchorLevel: u32,
  ladderAt: usize,
  scratchAt: usize,
  recordsAt: usize,
): void {
  table = tableAt
  slots = slotCount
  used = 0
  room = slotCount - slotCount / 6
  level = anchorLevel
  ladder = ladderAt
  scratch = scratchAt
  otherLadder = ladderAt + LADDER
  records = recordsAt
  resetLadder()
}

/** Echoes have a ladder of their own; swaps the two. */
function swapLadders(): void {
  const at = ladder
  const n = count
  ladder = otherLadder
  count = otherCount
  otherLadder = at
  otherCount = n
}

/** Entries in the table; all that fit if it is full. */
export function entries(): u32 {
  return used
}

export function isFull(): bool {
  return used >= room
}

export function resetLadder(): void {
  count = 0
  otherCount = 0
}

/** True if the position was stored (or the table is full), false if the tag has its four. */
function insert(tag: u32, position: u64): bool {
  if (used >= room) return true
  const mark = (<u64>(tag & 0xffffff)) << 40
  let slot = (<u64>tag * slots) >> 32
  let same = 0
  while (true) {
    const at = table + ((<usize>slot) << 3)
    const entry = load<u64>(at)
    if (entry == 0) {
      store<u64>(at, mark | (position + 1))
      used++
      return true
    }
    if ((entry ^ mark) < 1 << 40 && ++same == FOUR) return false
    if (++slot == slots) slot = 0
  }
}

/** Writes the positions of a tag to `out` and gives their number, at most FOUR. */
function lookup(tag: u32, out: usize): i32 {
  const mark = (<u64>(tag & 0xffffff)) << 40
  let slot = (<u64>tag * slots) >> 32
  let found = 0
  while (true) {
    const entry = load<u64>(table + ((<usize>slot) << 3))
    if (entry == 0) return found
    if ((entry ^ mark) < 1 << 40) {
      store<u64>(out + ((<usize>found) << 3), (entry & 0xffffffffff) - 1)
      if (++found == FOUR) return found
    }
    if (++slot == slots) slot = 0
  }
}

function rung(i: u64, order: i32): usize {
  return ladder + ((<usize>i & (RING - 1)) << 5) + ((<usize>order) << 2)
}

function placeOf(i: u64): usize {
  return ladder + (RING << 5) + ((<usize>i & (RING - 1)) << 3)
}

/** Puts an anchor on the ladder; gives the number of orders that its surroundings allow. */
function climb(tag: u32, position: u64): i32 {
  const i = count++
  store<u32>(rung(i, 0), tag)
  store<u64>(placeOf(i), position)
  let order = 1
  while (order < ORDERS && count >= (<u64>1) << order) {
    if (position - load<u64>(placeOf(i - ((<u64>1) << order) + 1)) > REACH) break
    const before = i - ((<u64>1) << (order - 1))
    let h = (load<u32>(rung(i, order - 1)) ^ rotl(load<u32>(rung(before, order - 1)), 15)) * 0x9e3779b1
    h = (h ^ (h >> 15) ^ <u32>(position - load<u64>(placeOf(before)))) * 0x85ebca6b
    store<u32>(rung(i, order), h ^ (h >> 13))
    order++
  }
  return order
}

/** Indexes the records from `at` to `end`; `base` is added to their positions. */
export function insertRecords(at: usize, end: usize, base: f64): void {
  for (let from = at; from < end; from += RECORD * AHEAD) {
    const to = min(end, from + RECORD * AHEAD)
    touch(from, to)
    insertSome(from, to, base)
  }
}

/** Loads the table where the records will go: independent loads overlap, those of insertion hardly do. */
function touch(at: usize, end: usize): void {
  let sum: u64 = 0
  for (let r = at; r < end; r += RECORD) {
    if (((load<u32>(r, 8) >> 16) & 0xff) < level) continue
    sum ^= load<u64>(table + ((<usize>((<u64>load<u32>(r) * slots) >> 32)) << 3))
  }
  touched ^= sum
}

function insertSome(at: usize, end: usize, base: f64): void {
  const from = <u64>base
  for (let r = at; r < end; r += RECORD) {
    const tag = load<u32>(r)
    const rest = load<u32>(r, 8)
    const kind = rest >> 24
    if (((rest >> 16) & 0xff) < level) continue
    const position = from + (((<u64>(rest & 0xffff)) << 32) | <u64>load<u32>(r, 4))
    if (kind == 0) {
      insertClimbing(tag, position)
    } else if (kind == ECHO) {
      if (level >= NO_ECHOES) continue
      swapLadders()
      insertClimbing(tag ^ (ECHO * KIND_SALT), position)
      swapLadders()
    } else {
      insert(tag ^ (kind * KIND_SALT), position)
    }
  }
}

function insertClimbing(tag: u32, position: u64): void {
  const i = count
  // Where the last anchors come again and again nothing new can be learnt: all orders are full long since.
  for (let period: u64 = 1; period <= 4 && i > 8; period++) {
    const same =
      load<u32>(rung(i - period, 0)) == tag &&
      position - load<u64>(placeOf(i - 1)) ==
        load<u64>(placeOf(i - period)) - load<u64>(placeOf(i - period - 1))
    const counter = steady + ((<usize>period) << 2)
    const length = same ? load<u32>(counter) + 1 : 0
    store<u32>(counter, length)
    if (length < 1024) continue
    memory.copy(rung(i, 0), rung(i - period, 0), ORDERS * 4)
    store<u64>(placeOf(i), position)
    count++
    return
  }
  const orders = climb(tag, position)
  for (let k = 0; k < orders; k++) if (insert(load<u32>(rung(i, k)), position)) break
}

/**
 * Where could the page at `at` come from? Writes the places (u64 positions of the page's first byte, the
 * best first) to `out` as f64 and gives their number: 0 if it is in no indexed file. At most 32.
 */
export function probePage(at: usize, out: usize): i32 {
  let found = -1 // places that all conclusive anchors agree on; -1 while there was none
  let anchors = 0
  let full: i32 = 0 // a bit for each order whose places were put aside
  let agreed = 0
  count = 0
  for (let piece = 0; piece < PAGE; piece += 512) {
    const positions = min(512, PAGE - 31 - piece)
    const end = sample(at + piece, positions, <u64>0 - <u64>at, records)
    for (let r = records; r < end; r += RECORD) {
      if (((load<u32>(r, 8) >> 16) & 0xff) < level) continue
      anchors++
      const place = <u64>load<u32>(r, 4)
      const orders = climb(load<u32>(r), place)
      const i = count - 1
      let n = 0
      let conclusive = false
      let last = 0
      for (let k = 0; k < orders; k++) {
        last = n
        const c = lookup(load<u32>(rung(i, k)), scratch + ((<usize>n) << 3))
        n += c
        if (c < FOUR) {
          conclusive = true
          break
        }
      }
      if (conclusive) {
        if (n == 0) return 0
        found = found < 0 ? keep(place, n, out) : intersect(place, n, found, out)
        if (found == 0) return 0
        if (++agreed == 6) return found
      } else if (found < 0 && count == (<u64>1) << (orders - 1)) {
        // The first anchor of the page with this order: in a run of repeated content the places that start the run.
        setAside(orders - 1, place, last)
        full |= 1 << (orders - 1)
      }
    }
    if (anchors > 400) break
  }
  if (found >= 0) return found
  if (anchors) return allAside(full, out)
  return probeForced(at, out)
}

/** The same for a page without anchors. Nothing here is conclusive: windows of memory and file differ. */
function probeForced(at: usize, out: usize): i32 {
  const p = smallest(at)
  const tag = tagAt(p)
  const end = echoes(p, at, PAGE - 31, <u64>0 - <u64>at, records)
  let least = 9999
  let found = 0
  for (let r = records; r < end; r += RECORD) {
    const place = <u64>load<u32>(r, 4)
    const orders = climb(load<u32>(r) ^ (ECHO * KIND_SALT), place)
    const i = count - 1
    let n = 0
    let c = FOUR
    for (let k = 0; k < orders && c == FOUR; k++) {
      c = lookup(load<u32>(rung(i, k)), scratch + ((<usize>n) << 3))
      n += c
    }
    if (c == FOUR || n == 0 || n >= least || n > 20) continue
    least = n
    found = keep(place, n, out)
  }
  let n = lookup(tag ^ (3 * KIND_SALT), scratch)
  n += lookup(tag ^ (2 * KIND_SALT), scratch + ((<usize>n) << 3))
  n += lookup(tag ^ KIND_SALT, scratch + ((<usize>n) << 3))
  return found + keep(<u64>(p - at), n, out + ((<usize>found) << 3), false)
}

/** Keeps the FOUR positions at `from` of the scratch as places of the page, for the case that nothing better comes. */
function setAside(order: i32, place: u64, from: i32): void {
  const aside = scratch + ((<usize>((order + ORDERS) * FOUR)) << 3)
  for (let j = 0; j < FOUR; j++) {
    store<u64>(aside + ((<usize>j) << 3), load<u64>(scratch + ((<usize>(from + j)) << 3)) - place)
  }
}

/** Writes what was put aside, the highest order first. */
function allAside(full: i32, out: usize): i32 {
  let kept = 0
  for (let order = ORDERS - 1; order >= 0; order--) {
    if (!(full & (1 << order))) continue
    const aside = scratch + ((<usize>((order + ORDERS) * FOUR)) << 3)
    for (let j = 0; j < FOUR; j++) {
      const place = load<i64>(aside + ((<usize>j) << 3))
      if (place < 0) continue
      store<f64>(out + ((<usize>kept) << 3), <f64>place)
      kept++
    }
  }
  return kept
}

/** Turns the positions of an anchor into places of its page; those of the highest order first. */
function keep(place: u64, n: i32, out: usize, backwards: bool = true): i32 {
  let kept = 0
  for (let j = 0; j < n; j++) {
    const position = load<u64>(scratch + ((<usize>(backwards ? n - 1 - j : j)) << 3))
    if (position < place) continue
    store<f64>(out + ((<usize>kept) << 3), <f64>(position - place))
    kept++
  }
  return kept
}

function intersect(place: u64, n: i32, found: i32, out: usize): i32 {
  let kept = 0
  for (let j = 0; j < found; j++) {
    const candidate = load<f64>(out + ((<usize>j) << 3))
    const wanted = <u64>candidate + place
    for (let k = 0; k < n; k++) {
      if (load<u64>(scratch + ((<usize>k) << 3)) != wanted) continue
      store<f64>(out + ((<usize>kept) << 3), candidate)
      kept++
      break
    }
  }
  return kept
}
