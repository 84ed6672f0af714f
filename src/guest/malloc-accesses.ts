// Who reads and who writes the blocks of each place that takes memory: bytes, by function.
//
//   a second memory of the instance:   place of each 8 bytes of the guest's memory (u16; 0: no block)          1 GiB of addresses
//                                      for each function a row of counters: for each place, bytes read, bytes written (u64)
//
// An access looks up the place of its address and adds its width to a counter of its function: some ten instructions, or a call in functions
// that are so large that an engine's optimiser would take gigabytes for them. Of the memory only what is used
// exists. What memcpy and its kind touch counts for who called them; what malloc and its helpers touch does not count; what the host touches counts for the
// WASI call.
import { accessOps, addOffset, bulkOps, need32Bits, save } from '../wasm/access.ts'
import type { Body } from '../wasm/bodies.ts'
import type { Code } from '../wasm/code.ts'
import { Cursor } from '../wasm/instructions.ts'
import { I32, importCount, type Module } from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { isLoad, isStore, OP, widths } from '../wasm/opcode-table.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import type { EngineInstance, EngineMemory, ImportObject } from './engine.ts'
import type { Observer } from './instance.ts'
import type { Pass } from './load.ts'
import { listed, type MallocFunctions, placed } from './malloc-functions.ts'
import { callKinds } from './wasi.ts'

const importModule = 'lethe:accesses'
const countersName = 'lethe:accesses counters'
const granule = 8
const wasmPage = 65_536
/** Where the rows begin: behind the places of all of 4 GiB. */
const rows = (2 ** 32 / granule) * 2
/** A row is a wasm page. */
const mostPlaces = wasmPage / 16
const mostRows = 65_536 - rows / wasmPage

/** What these touch they touch for their caller. */
const servants =
  /^_*(mem(cpy|move|set|cmp|chr|rchr|mem|pcpy)|st[rp]n?(len|cpy|cat|chr|rchr|cmp|chrnul|str|spn|cspn|pbrk|casecmp|lcpy|lcat)|strncasecmp)$/

/** Bytes of code of a function that is large. */
const large = 40_000

const hostCalls = [...callKinds.keys()]

/** Every access of the guest to its first memory is counted. */
export function countAccesses(functions: MallocFunctions): Pass {
  return {
    name: `count-accesses 3 ${listed(functions)}`,
    apply(module: Module): Module {
      const rewriter = new Rewriter(module)
      need32Bits(rewriter, 0, '--malloc observe')
      const size = rows / wasmPage + rowsOf(module)
      const limits = { min: size, max: size, shared: false, is64: false }
      const memory = rewriter.addMemory(limits)
      rewriter.addExport(countersName, 'memory', memory)
      const range = rewriter.importFunction(importModule, 'range', {
        params: [I32, I32, I32, I32],
        results: [],
      })
      const row = rewriter.addGlobal({ type: I32, mutable: true }, 0, 'lethe.row')
      const { functions: names } = readNames(module)
      const first = importCount(module, 'func')
      const serves = (index: number): boolean => servants.test(names.get(index) ?? '')
      // What passes added calls malloc for its caller.
      const tells = (index: number): boolean =>
        serves(index) || (module.functions[index - first]?.original ?? 0) < 0
      const heap = onlyFor(module, new Set(placed(module, functions).keys()))
      let own: number | undefined
      const calls: readonly number[] = [OP.call, OP.call_indirect, OP.return_call, OP.return_call_indirect]
      let isLarge = false
      const counts = [0, 8].map(at => addCount(rewriter, at, memory))
      const pushRow = (out: Code): Code => (own === undefined ? out.getGlobal(row) : out.i32(own))
      const count = (out: Code, body: Body, bytes: number, at: number): void => {
        // Those below are the address's and the operands'.
        const place = body.scratch(I32, 3)
        out.i32(3).op(OP['i32.shr_u']).i32(1).op(OP['i32.shl']).access(OP['i32.load16_u'], 0, memory)
        out.i32(4).op(OP['i32.shl'])
        if (own === undefined) out.getGlobal(row).i32(16).op(OP['i32.shl']).op(OP['i32.add'])
        const counter = rows + at + (own ?? 0) * wasmPage
        out.tee(place).get(place).access(OP['i64.load'], counter, memory)
        out.i64(BigInt(bytes)).op(OP['i64.add']).access(OP['i64.store'], counter, memory)
      }
      rewriter.rewriteBodies({
        ops: [...accessOps, ...bulkOps, ...calls],
        enter(body) {
          own = serves(body.index) ? undefined : rowOf(body.original)
          const { length } = rewriter.function(body.index)?.body ?? []
          isLarge = length > large
          return !counts.includes(body.index) && !heap.has(body.index) && (own ?? 0) < mostRows
        },
        instruction(i, out, body) {
          if (calls.includes(i.op)) {
            const direct = i.op === OP.call || i.op === OP.return_call
            if (own !== undefined && (!direct || tells(i.index))) out.i32(own).setGlobal(row)
            return false
          }
          if (bulkOps.includes(i.op)) return bulk(i, out, body, pushRow, range)
          if (i.index !== 0) return false
          const width = widths[i.op] as number
          const values = save(i.op, out, body)
          const ways = [...(isLoad(i.op) ? [0] : []), ...(isStore(i.op) ? [8] : [])]
          if (isLarge) {
            for (const at of ways)
              pushRow(out.i32(i.offset | 0))
                .i32(width)
                .call(counts[at / 8] as number)
          } else {
            const address = body.scratch(I32)
            out.set(address)
            for (const at of ways) {
              out.get(address)
              addOffset(out, i)
              count(out, body, width, at)
            }
            out.get(address)
          }
          for (const value of values) out.get(value)
          return false
        },
      })
      return rewriter.finish()
    },
  }
}

// (address, offset, row, bytes) -> address: adds the bytes to the counters at `at` of the place that is there.
function addCount(rewriter: Rewriter, at: number, memory: number): number {
  return rewriter.addFunction({
    name: 'lethe.count',
    type: { params: [I32, I32, I32, I32], results: [I32] },
    locals: [I32],
    body(out) {
      out.get(0).get(1).op(OP['i32.add']).i32(3).op(OP['i32.shr_u']).i32(1).op(OP['i32.shl'])
      out.access(OP['i32.load16_u'], 0, memory)
      out.i32(4).op(OP['i32.shl']).get(2).i32(16).op(OP['i32.shl']).op(OP['i32.add'])
      out
        .tee(4)
        .get(4)
        .access(OP['i64.load'], rows + at, memory)
      out.get(3).op(OP['i64.extend_i32_u']).op(OP['i64.add'])
      out.access(OP['i64.store'], rows + at, memory)
      out.get(0)
    },
  })
}

// The host's calls first, then the guest's functions by their indices in its file.
const rowOf = (original: number): number => hostCalls.length + original
const rowsOf = (module: Module): number =>
  Math.min(mostRows, hostCalls.length + importCount(module, 'func') + module.functions.length)

function bulk(i: Cursor, out: Code, body: Body, pushRow: (out: Code) => Code, range: number): boolean {
  const [to, from, length] = [body.scratch(I32), body.scratch(I32, 1), body.scratch(I32, 2)]
  out.set(length).set(from).set(to)
  if (i.op === OP['memory.copy'] && i.index2 === 0) pushRow(out).get(from).get(length).i32(0).call(range)
  if ((i.op === OP['memory.init'] ? i.index2 : i.index) === 0)
    pushRow(out).get(to).get(length).i32(1).call(range)
  out.get(to).get(from).get(length)
  return false
}

/** These functions, and those that nobody but they call. */
function onlyFor(module: Module, functions: ReadonlySet<number>): ReadonlySet<number> {
  const first = importCount(module, 'func')
  const callers = new Map<number, Set<number>>()
  const named = new Set<number>(module.exports.flatMap(one => (one.kind === 'func' ? [one.index] : [])))
  for (const { functions: listed = [] } of module.elements) for (const index of listed) named.add(index)
  const cursor = new Cursor(new Uint8Array(0), 0)
  for (const [n, { body, offset }] of module.functions.entries()) {
    cursor.reset(body, offset)
    while (cursor.next())
      if (cursor.op === OP['ref.func']) named.add(cursor.index)
      else if (cursor.op === OP.call || cursor.op === OP.return_call) {
        const known = callers.get(cursor.index)
        if (known === undefined) callers.set(cursor.index, new Set([first + n]))
        else known.add(first + n)
      }
  }
  const found = new Set(functions)
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const [index, from] of callers)
      if (index >= first && !named.has(index) && [...from].every(caller => found.has(caller)))
        found.add(index)
  }
  return found
}

/** Bytes of one function's accesses to a place's blocks. */
export interface Party {
  /** Index in the guest's file; undefined: `name` is a call of WASI's. */
  readonly index: number | undefined
  readonly name: string | undefined
  readonly bytes: number
}

export interface PlaceAccesses {
  readonly read: number
  readonly written: number
  /** Most bytes first. */
  readonly readers: readonly Party[]
  readonly writers: readonly Party[]
}

/** The counters of one instance. Places are numbers from 1 on; those above `mostPlaces` count as one. */
export class Accesses {
  readonly imports: ImportObject
  readonly observer: Observer
  #memory: EngineMemory | undefined
  #places = new Uint16Array(0)
  #call = 0

  constructor() {
    const range = (row: number, at: number, length: number, writes: number): void =>
      this.#range(row, at >>> 0, length >>> 0, writes)
    this.imports = { [importModule]: { range } }
    this.observer = {
      before: name => void (this.#call = Math.max(0, hostCalls.indexOf(name))),
      wrote: (at, length) => this.#range(this.#call, at, length, 1),
      reads: (at, length) => this.#range(this.#call, at, length, 0),
    }
  }

  attach({ exports }: EngineInstance): void {
    this.#memory = exports[countersName] as EngineMemory
    this.#places = new Uint16Array(this.#memory.buffer, 0, rows / 2)
  }

  /** A block is of a place from now on; 0: of none. */
  mark(at: number, bytes: number, place: number): void {
    const from = Math.floor(at / granule)
    this.#places.fill(Math.min(place, mostPlaces - 1), from, Math.ceil((at + bytes) / granule))
  }

  // Block by block: what one place has in a row counts at once.
  #range(row: number, at: number, length: number, writes: number): void {
    if (this.#memory === undefined || length === 0) return
    const counters = new BigUint64Array(this.#memory.buffer, rows + row * wasmPage, wasmPage / 8)
    const places = this.#places
    const end = at + length
    for (let from = at; from < end; ) {
      const place = places[Math.floor(from / granule)] as number
      let granules = Math.floor(from / granule) + 1
      while (granules * granule < end && places[granules] === place) granules++
      const to = Math.min(end, granules * granule)
      counters[place * 2 + writes] = (counters[place * 2 + writes] as bigint) + BigInt(to - from)
      from = to
    }
  }

  /** Who touched what, by place. `nameOf` names the guest's functions. */
  byPlace(places: number, nameOf: (index: number) => string | undefined): PlaceAccesses[] {
    const { buffer } = this.#memory ?? { buffer: new ArrayBuffer(0) }
    const count = Math.min(places, mostPlaces - 1) + 1
    const found = Array.from({ length: count }, () => ({
      read: 0,
      written: 0,
      readers: [] as Party[],
      writers: [] as Party[],
    }))
    for (let row = 0; rows + (row + 1) * wasmPage <= buffer.byteLength; row++) {
      // By halves: most are zero, and big integers take long.
      const counters = new Uint32Array(buffer, rows + row * wasmPage, count * 4)
      const index = row < hostCalls.length ? undefined : row - hostCalls.length
      for (let n = 0; n < count; n++) {
        const read = (counters[n * 4] as number) + (counters[n * 4 + 1] as number) * 2 ** 32
        const written = (counters[n * 4 + 2] as number) + (counters[n * 4 + 3] as number) * 2 ** 32
        if (read + written === 0) continue
        const place = found[n] as (typeof found)[number]
        const name = index === undefined ? hostCalls[row] : nameOf(index)
        place.read += read
        place.written += written
        if (read > 0) place.readers.push({ index, name, bytes: read })
        if (written > 0) place.writers.push({ index, name, bytes: written })
      }
    }
    for (const { readers, writers } of found) {
      readers.sort((a, b) => b.bytes - a.bytes)
      writers.sort((a, b) => b.bytes - a.bytes)
    }
    return found
  }
}
