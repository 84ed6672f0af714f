/**
 * A machine's contents as somebody gives them: page table, TLB, caches, memory. For problem sheets, and to reproduce a
 * machine that another program has made.
 *
 * Numbers may be written as JSON numbers or as "0x2d"; rows that say `"valid": false` or `"valid": 0` are read and left out. A
 * page table is given row by row, as a list of entries in order (-1 or null: not valid), or as bytes in memory with `root`, the
 * frame that its base register points to. Memory is one hex string from address 0, or a map from addresses to hex strings.
 */
import type { Entry } from './access.ts'
import type { MachineConfig } from './config.ts'
import { parseCount } from './configure.ts'
import { MachineError } from './errors.ts'
import { Memory } from './memory.ts'
import { Mmu } from './mmu.ts'
import { decode, PageTable } from './page-table.ts'
import { entryFormat } from './configure.ts'
import { lectureState } from './lecture-state.ts'

type Count = number | string

export interface PageRow {
  readonly vpn: Count
  readonly ppn: Count
  readonly valid?: boolean | number
  readonly read?: boolean | number
  readonly write?: boolean | number
  readonly execute?: boolean | number
  readonly user?: boolean | number
  readonly referenced?: boolean | number
  readonly dirty?: boolean | number
}

export interface TlbRow {
  readonly set: Count
  readonly way?: Count
  readonly tag: Count
  readonly ppn: Count
  readonly valid?: boolean | number
}

export interface CacheRow {
  readonly set: Count
  readonly way?: Count
  readonly tag: Count
  readonly valid?: boolean | number
  readonly dirty?: boolean | number
  /** The line's bytes in hex, or as numbers. */
  readonly bytes?: string | readonly Count[]
}

export interface MachineState {
  /** Rows; or one entry after the other, as the bits that the format says, null or -1 where nothing is mapped. */
  readonly pageTable?: readonly (PageRow | Count | null)[]
  /** The frame that the page-table base register points to: the table is in `memory`. */
  readonly root?: Count
  readonly tlb?: readonly TlbRow[]
  readonly itlb?: readonly TlbRow[]
  /** By name: L1, L1i, L1d, L2… */
  readonly caches?: Readonly<Record<string, readonly CacheRow[]>>
  readonly memory?: string | Readonly<Record<string, string>>
}

/** A machine with contents, for one process: number 1. */
export interface Loaded {
  readonly config: MachineConfig
  readonly mmu: Mmu
  readonly table: PageTable
  /** The byte at a physical address; undefined where the state does not say. */
  byte(physical: number): number | undefined
}

function bad(where: string, value: unknown, remedy: string): MachineError {
  return new MachineError('state', `${where} is ${JSON.stringify(value)}: ${remedy}`)
}

function count(where: string, value: unknown, below: number): number {
  const n = parseCount(value)
  if (!Number.isSafeInteger(n) || n < 0 || n >= below)
    throw bad(where, value, `give a whole number from 0 to below ${below}`)
  return n
}

function list<T>(where: string, rows: readonly T[] | undefined): readonly T[] {
  if (rows === undefined) return []
  if (!Array.isArray(rows)) throw bad(where, rows, 'give a list')
  return rows
}

const isOff = (row: { readonly valid?: boolean | number }): boolean => row.valid === false || row.valid === 0
const on = (value: boolean | number | undefined, otherwise: boolean): boolean =>
  value === undefined ? otherwise : value === true || value === 1

function bytesOf(where: string, given: string | readonly Count[]): Uint8Array {
  if (typeof given !== 'string') return Uint8Array.from(given, (n, i) => count(`${where}, byte ${i}`, n, 256))
  const text = given.replace(/\s+/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(text))
    throw bad(where, given.slice(0, 40), 'give two hex digits for every byte')
  return Uint8Array.from(text.match(/../g) ?? [], pair => Number.parseInt(pair, 16))
}

/** A machine with these contents; the preset's own for 'lecture' when none are given. MachineError 'state'. */
export function loadState(config: MachineConfig, given?: MachineState): Loaded {
  const state = given ?? (config.name === 'lecture' ? lectureState : {})
  const memory = new Memory(config)
  const mmu = new Mmu(config, memory)
  const known = new Known(config, memory)
  if (state.memory !== undefined) loadMemory(config, state.memory, known)
  const root = state.root === undefined ? undefined : count('root', state.root, config.frames)
  const table = new PageTable(
    root === undefined ? config : { ...config, pageTable: { ...config.pageTable, placement: 'frames' } },
    memory,
    root,
  )
  const vpns = 2 ** (config.virtualBits - Math.log2(config.pageSize))
  loadTable(config, table, state.pageTable, vpns)
  for (const name of ['tlb', 'itlb'] as const) {
    const tlb = mmu[name]
    const rows = list(name, state[name])
    if (tlb === undefined && rows.length > 0) throw bad(name, 'a list', `this machine has no ${name}`)
    const ways = new Map<number, number>()
    rows.forEach((row, i) => {
      const where = `${name}, row ${i + 1}`
      if (tlb === undefined) return
      const set = count(`${where}, set`, row.set, tlb.sets)
      const way = count(`${where}, way`, row.way ?? ways.get(set) ?? 0, tlb.config.ways)
      ways.set(set, way + 1)
      if (isOff(row)) return
      const vpn = count(`${where}, tag`, row.tag, vpns / tlb.sets) * tlb.sets + set
      const frame = count(`${where}, ppn`, row.ppn, config.frames)
      const entry = table.entry(vpn)
      tlb.place(way, 1, vpn, { ...(entry.valid ? entry : allowed(frame)), frame })
    })
  }
  loadCaches(config, mmu, state.caches, known)
  return { config, mmu, table, byte: physical => known.byte(physical) }
}

function allowed(frame: number): Entry {
  return {
    valid: true,
    frame,
    read: true,
    write: true,
    execute: true,
    user: true,
    referenced: false,
    dirty: false,
  }
}

function loadTable(
  config: MachineConfig,
  table: PageTable,
  rows: MachineState['pageTable'],
  vpns: number,
): void {
  list('pageTable', rows).forEach((row, i) => {
    if (row === null || row === -1) return
    const where = `pageTable, row ${i + 1}`
    if (typeof row !== 'object') {
      if (i >= vpns) throw bad(where, row, `there are only ${vpns} pages`)
      const entry = decode(entryFormat(config), count(where, row, 2 ** 32), 0)
      if (entry.valid)
        table.set(i, { ...entry, frame: count(`${where}, its frame`, entry.frame, config.frames) })
      return
    }
    const vpn = count(`${where}, vpn`, row.vpn, vpns)
    if (isOff(row)) return
    table.set(vpn, {
      valid: true,
      frame: count(`${where}, ppn`, row.ppn, config.frames),
      read: on(row.read, true),
      write: on(row.write, true),
      execute: on(row.execute, true),
      user: on(row.user, true),
      referenced: on(row.referenced, false),
      dirty: on(row.dirty, false),
    })
  })
}

/** Memory of which only some bytes are known. */
class Known {
  readonly #memory: Memory
  readonly #size: number
  readonly #pageSize: number
  readonly #known = new Set<number>()

  constructor(config: MachineConfig, memory: Memory) {
    this.#memory = memory
    this.#pageSize = config.pageSize
    this.#size = config.frames * config.pageSize
  }

  set(where: string, physical: number, bytes: Uint8Array): void {
    if (physical + bytes.length > this.#size)
      throw bad(where, physical, `${bytes.length} bytes from there on go beyond memory (${this.#size} bytes)`)
    bytes.forEach((byte, i) => {
      const at = physical + i
      this.#memory.bytes(Math.floor(at / this.#pageSize))[at % this.#pageSize] = byte
      this.#known.add(at)
    })
  }

  byte(physical: number): number | undefined {
    if (!this.#known.has(physical)) return undefined
    return this.#memory.bytes(Math.floor(physical / this.#pageSize))[physical % this.#pageSize]
  }
}

function loadMemory(config: MachineConfig, given: NonNullable<MachineState['memory']>, known: Known): void {
  if (typeof given === 'string') return known.set('memory', 0, bytesOf('memory', given))
  for (const [address, text] of Object.entries(given))
    known.set(
      'memory',
      count('memory, an address', address, config.frames * config.pageSize),
      bytesOf(`memory at ${address}`, text),
    )
}

function loadCaches(config: MachineConfig, mmu: Mmu, given: MachineState['caches'], known: Known): void {
  for (const [name, rows] of Object.entries(given ?? {})) {
    const cache = mmu.caches.all.find(one => one.name === name)
    if (cache === undefined)
      throw bad(
        'caches',
        name,
        `this machine has ${mmu.caches.all.map(one => one.name).join(', ') || 'no cache'}`,
      )
    const { line, ways } = cache.config
    const used = new Map<number, number>()
    list(`caches.${name}`, rows).forEach((row, i) => {
      const where = `caches.${name}, row ${i + 1}`
      const set = count(`${where}, set`, row.set, cache.sets)
      const way = count(`${where}, way`, row.way ?? used.get(set) ?? 0, ways)
      used.set(set, way + 1)
      if (isOff(row)) return
      const size = config.frames * config.pageSize
      const tag = count(`${where}, tag`, row.tag, Math.max(1, size / line / cache.sets))
      cache.place(set, way, tag, on(row.dirty, false))
      if (row.bytes === undefined) return
      const bytes = bytesOf(`${where}, bytes`, row.bytes)
      if (bytes.length !== line)
        throw bad(`${where}, bytes`, row.bytes, `a line of ${name} has ${line} bytes`)
      known.set(where, (tag * cache.sets + set) * line, bytes)
    })
  }
}
