// Where a variable lives: DWARF's location expressions and lists, as far as compilers use them in WebAssembly.
import type { Unit } from './dwarf.ts'
import { type AttributeValue, type DebugSections, isRemoved, SectionReader } from './dwarf-reader.ts'

/**
 * memory: at `value` of the guest's memory. frame: at `value` from the frame base. local, global: it is (with `value` added, for a frame base)
 * what the local or global `index` holds; `pointer`: it is in memory there. other: computed in a way that we don't read.
 * `range`: only for this code (bytes of the decoded module).
 */
export interface Location {
  readonly kind: 'memory' | 'frame' | 'local' | 'global' | 'other'
  readonly index: number
  readonly value: number
  readonly pointer: boolean
  readonly range: { readonly low: number; readonly high: number } | undefined
}

type Place = Omit<Location, 'range'>

/** The locations that an attribute names: one for all code, or one for each range. */
export function readLocation(
  sections: DebugSections,
  unit: Unit,
  form: number,
  value: AttributeValue,
): Location[] {
  if (value instanceof Uint8Array) return [{ ...expression(sections, unit, value), range: undefined }]
  if (typeof value !== 'number') return []
  return unit.version >= 5 ? newList(sections, unit, form, value) : oldList(sections, unit, value)
}

const other: Place = { kind: 'other', index: 0, value: 0, pointer: false }

function expression(sections: DebugSections, unit: Unit, bytes: Uint8Array): Place {
  const r = new SectionReader(bytes)
  let place: Place | undefined
  while (!r.ended) {
    const op = r.u8()
    if (op === 0x03) place = { kind: 'memory', index: 0, value: r.sized(unit.addressSize), pointer: true }
    else if (op === 0xa1 || op === 0xfb)
      place = {
        kind: 'memory',
        index: 0,
        value: sections.value(r, 0x1b, unit, unit.start) as number,
        pointer: true,
      }
    else if (op === 0x0c || op === 0x0e)
      place = { kind: 'other', index: 0, value: r.sized(op === 0x0c ? 4 : 8), pointer: true }
    // A thread's own variable: where there is one thread, the constant is its address.
    else if ((op === 0xe0 || op === 0x9b) && place?.kind === 'other') place = { ...place, kind: 'memory' }
    else if (op === 0x91) place = { kind: 'frame', index: 0, value: r.sleb(), pointer: true }
    else if (op === 0xed) {
      const kind = r.u8()
      const index = kind === 3 ? r.u32() : r.uleb()
      place = kind === 2 ? other : { kind: kind === 0 ? 'local' : 'global', index, value: 0, pointer: true }
    } else if (op === 0x23 && place !== undefined) place = { ...place, value: place.value + r.uleb() }
    else if (op === 0x9f && place !== undefined) place = { ...place, pointer: false }
    else return other
  }
  return place ?? other
}

function oldList(sections: DebugSections, unit: Unit, at: number): Location[] {
  const r = sections.reader('loc', at)
  const list: Location[] = []
  const most = unit.addressSize === 8 ? 2 ** 64 : 2 ** 32 - 1
  let base = unit.low
  for (;;) {
    const low = r.sized(unit.addressSize)
    const high = r.sized(unit.addressSize)
    if (low === 0 && high === 0) return list
    if (low >= most) base = high
    else add(list, sections, unit, base + low, base + high, r.block(r.u16()))
  }
}

function newList(sections: DebugSections, unit: Unit, form: number, value: number): Location[] {
  let at = value
  if (form === 0x22) {
    const start = unit.loclistsBase < 0 ? 12 : unit.loclistsBase
    at = start + sections.reader('loclists', start + value * unit.offsetSize).sized(unit.offsetSize)
  }
  const r = sections.reader('loclists', at)
  const list: Location[] = []
  const indexed = (): number => sections.value(r, 0x1b, unit, unit.start) as number
  let base = unit.low
  for (;;) {
    const kind = r.u8()
    let low = 0
    let high = 2 ** 32
    if (kind === 0) return list
    if (kind === 1) {
      base = indexed()
      continue
    }
    if (kind === 6) {
      base = r.sized(unit.addressSize)
      continue
    }
    if (kind === 2) {
      low = indexed()
      high = indexed()
    } else if (kind === 3) {
      low = indexed()
      high = low + r.uleb()
    } else if (kind === 4) {
      low = base + r.uleb()
      high = base + r.uleb()
    } else if (kind === 7) {
      low = r.sized(unit.addressSize)
      high = r.sized(unit.addressSize)
    } else if (kind === 8) {
      low = r.sized(unit.addressSize)
      high = low + r.uleb()
    } else if (kind !== 5) throw new RangeError(`location list entry ${kind}`)
    add(list, sections, unit, low, high, r.block(r.uleb()))
  }
}

function add(
  list: Location[],
  sections: DebugSections,
  unit: Unit,
  low: number,
  high: number,
  bytes: Uint8Array,
): void {
  if (isRemoved(low) || high <= low) return
  const range = { low: low + sections.codeOffset, high: high + sections.codeOffset }
  list.push({ ...expression(sections, unit, bytes), range })
}
