/** Programs for the machine, small enough that every table of theirs is on the page. */
import { verbatim } from '../../lens/verbatim.ts'
import { Machine } from '../../machine/machine.ts'
import { type Film, type Move, record } from './film.ts'

export interface Scenario {
  readonly id: string
  readonly name: string
  /** What to look at. */
  readonly say: string
  readonly film: (trace: string) => Film
}

/** 4 KiB of addresses in pages of 64 bytes, 8 frames, a TLB of 4 entries, a cache of 8 lines. */
const small = {
  preset: 'lecture',
  virtualBits: 12,
  physicalBits: 9,
  frames: 8,
  pageTable: { levels: [6] },
  tlb: { entries: 4, ways: 2 },
  caches: [{ unified: { size: 128, line: 16, ways: 2 } }],
  swapSlots: 16,
  cost: { fault: 100, diskLatency: 10_000, diskByte: 1, contextSwitch: 50 },
} as const

const read = (pid: number, address: number, note?: string): Move => ({
  pid,
  reference: { kind: 'read', address },
  ...(note === undefined ? {} : { note }),
})
const write = (pid: number, address: number, note?: string): Move => ({
  pid,
  reference: { kind: 'write', address },
  ...(note === undefined ? {} : { note }),
})

function* walkTwice(pid: number): Generator<Move> {
  for (const round of [1, 2])
    for (let address = 0; address < 256; address += 16)
      yield read(pid, address, `Round ${round}: the array's byte ${address}`)
}

function* loop(pid: number, pages: number, rounds: number, store = false): Generator<Move> {
  for (let round = 1; round <= rounds; round++)
    for (let page = 0; page < pages; page++)
      yield (store ? write : read)(pid, page * 64 + ((round * 8) % 64), `Round ${round}, page ${page}`)
}

export const scenarios: readonly Scenario[] = [
  {
    id: 'locality',
    name: 'An array, twice',
    say: 'Neighbours share a line, lines share a page, and the second round finds everything: spatial and temporal locality.',
    film() {
      const machine = new Machine(small)
      return record(machine, walkTwice(machine.open('sum').pid))
    },
  },
  {
    id: 'swap',
    name: 'A loop larger than memory',
    say: '10 pages go round in 8 frames. Under LRU each page leaves just before it is wanted again: every access faults, and written pages go to swap.',
    film() {
      const machine = new Machine(small)
      return record(machine, loop(machine.open('loop').pid, 10, 4, true))
    },
  },
  {
    id: 'spaces',
    name: 'Two processes, one address',
    say: 'Both use address 0x40. The base register changes with the process, so the same page number leads to different frames.',
    film() {
      const machine = new Machine(small)
      const a = machine.open('a').pid
      const b = machine.open('b').pid
      return record(machine, [
        write(a, 0x40, 'a writes'),
        write(b, 0x40, 'b writes the same address: another frame'),
        read(a, 0x40, 'a reads its own byte again'),
        read(b, 0x44, 'b reads next to its own'),
        read(a, 0x48),
        read(b, 0x4c),
      ])
    },
  },
  {
    id: 'fork',
    name: 'fork, copy on write',
    say: 'After fork parent and child are the same frames, none of them writable. The first write copies one page and no more.',
    film() {
      const machine = new Machine(small)
      const parent = machine.open('sh')
      let child = 0
      function* moves(): Generator<Move> {
        for (const page of [0, 1, 2]) yield write(parent.pid, page * 64, `The parent writes page ${page}`)
        yield {
          act: () => {
            child = machine.fork(parent.pid).pid
          },
          note: 'fork: the page table is copied, the pages are not',
        }
        yield read(child, 0, 'The child reads: the same frame')
        yield write(child, 4, 'The child writes: it gets a copy of this page')
        yield write(parent.pid, 4, 'The parent writes the same page: it is alone with it now')
        yield read(parent.pid, 64, 'Page 1 is still one frame for both')
        yield read(child, 64)
      }
      return record(machine, moves())
    },
  },
  {
    id: 'protection',
    name: 'Protection',
    say: 'Code can be fetched but not written, the kernel’s pages not be touched at all. The entry’s bits decide; the kernel sends the signal.',
    film() {
      const machine = new Machine(small)
      machine.signalsEnd = false
      const { pid } = machine.spawn('prog', { text: 128, data: new Uint8Array(64), stack: 256 })
      const text = 4096 / 32
      return record(machine, [
        { pid, reference: { kind: 'fetch', address: text }, note: 'It fetches an instruction' },
        read(pid, text + 128, 'It reads its data'),
        write(pid, text + 128, 'It writes its data'),
        write(pid, text, 'It writes into its code: not allowed'),
        read(pid, 3072 + 64, 'It reads the kernel’s memory: not for users'),
        read(pid, 1500, 'It reads where nothing is mapped'),
        write(pid, 3072 - 8, 'It pushes on its stack'),
        write(pid, 3072 - 72, 'The stack grows by a page'),
      ])
    },
  },
  {
    id: 'lens',
    name: 'A heap that is a lens over a file',
    say: 'Its pages are made from the file again when they are wanted, so pushing them out writes nothing: no page of it ever goes to swap.',
    film() {
      const machine = new Machine({ ...small, frames: 4, physicalBits: 8 })
      const file = machine.file(
        'data.txt',
        Uint8Array.from({ length: 512 }, (_, i) => 65 + (i % 26)),
      )
      const { pid } = machine.open('reader', machine.lens(file, verbatim()))
      return record(machine, loop(pid, 6, 3))
    },
  },
  {
    id: 'levels',
    name: 'A table in two levels',
    say: 'The tables themselves take frames, and their entries come through the cache. An entry of level 1 that is empty saves a whole table.',
    film() {
      const machine = new Machine({
        ...small,
        physicalBits: 10,
        frames: 16,
        pageTable: { levels: [3, 3], entry: 'compact', placement: 'frames', cached: true },
      })
      const { pid } = machine.open('sparse')
      return record(machine, [
        read(pid, 0x000, 'The first page: both levels are new'),
        read(pid, 0x040, 'Its neighbour: the same table of level 2'),
        read(pid, 0x048, 'The same page again: the TLB has it'),
        read(pid, 0xf80, 'Far away: another table of level 2'),
        read(pid, 0xfc0),
        read(pid, 0x000),
        read(pid, 0x800, 'A third table'),
        read(pid, 0x040, 'Out of the TLB by now? The walk finds its entries in the cache'),
      ])
    },
  },
  {
    id: 'thrash',
    name: 'Thrashing',
    say: 'Each process would be happy with 6 of the 8 frames. Together they wait for the disk all the time.',
    film() {
      const machine = new Machine(small)
      const a = loop(machine.open('a').pid, 6, 6)
      const b = loop(machine.open('b').pid, 6, 6)
      function* turns(): Generator<Move> {
        for (;;) {
          for (const one of [a, b])
            for (let i = 0; i < 6; i++) {
              const next = one.next()
              if (next.done === true) return
              yield next.value
            }
        }
      }
      return record(machine, turns())
    },
  },
  {
    id: 'own',
    name: 'Your own trace',
    say: 'One reference a line: r, w or f and an address below 0x1000. A second word names the process.',
    film(trace) {
      const machine = new Machine(small)
      const pids = new Map<string, number>()
      const moves = parse(trace).map(({ kind, address, name }): Move => {
        const pid = pids.get(name) ?? machine.open(name).pid
        pids.set(name, pid)
        return { pid, reference: { kind, address } }
      })
      return record(machine, moves)
    },
  },
]

const kinds = { r: 'read', w: 'write', f: 'fetch' } as const

function parse(trace: string): { kind: 'read' | 'write' | 'fetch'; address: number; name: string }[] {
  return trace.split(/[\n;]/).flatMap(line => {
    const [what = '', where = '', name = 'own'] = line.trim().split(/\s+/)
    const kind = kinds[what as keyof typeof kinds]
    const address = Number(where)
    return kind === undefined ||
      where === '' ||
      !(address >= 0 && address < 4096 && Number.isInteger(address))
      ? []
      : [{ kind, address, name }]
  })
}
