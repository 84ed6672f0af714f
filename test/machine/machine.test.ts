/** Processes on the simulated machine: the lecture's topics, each as a claim. */
import { describe, expect, test } from 'vitest'
import { lensNamed } from '../../src/lens/catalogue.ts'
import type { Access } from '../../src/machine/access.ts'
import { check } from '../../src/machine/check.ts'
import { presets } from '../../src/machine/config.ts'
import { machineConfig } from '../../src/machine/configure.ts'
import { accessTime, count, counters } from '../../src/machine/counters.ts'
import { Machine } from '../../src/machine/machine.ts'
import { Random } from '../../src/machine/sets.ts'

const small = { preset: 'p6', frames: 32, caches: [], tlb: { entries: 8, ways: 8 }, itlb: null }
const page = 4096

function read(machine: Machine, pid: number, address: number, size = 1): Access {
  return machine.load(pid, address, size).accesses[0] as Access
}

describe('an address space', () => {
  test('is laid out as in the lecture: text, data, bss, heap, libraries, stack, kernel', () => {
    const machine = new Machine({ preset: 'p6' })
    const library = machine.file('libc.so', new Uint8Array(3 * page))
    const { pid } = machine.spawn('a', {
      text: 2 * page,
      data: new Uint8Array(page),
      bss: page,
      heap: page,
      libraries: [library],
    })
    expect(machine.process(pid).regions.map(({ name, start }) => [name, start])).toEqual([
      ['text', 0x08000000],
      ['data', 0x08002000],
      ['bss', 0x08003000],
      ['heap', 0x08004000],
      ['libc.so', 0x40000000],
      ['stack', 0xc0000000 - page],
      ['kernel', 0xc0000000],
    ])
  })

  test('belongs to one process: the same address holds different bytes in two', () => {
    const machine = new Machine(small)
    const [a, b] = [machine.spawn('a', { bss: page }), machine.spawn('b', { bss: page })]
    const at = a.regions[1]?.start as number
    machine.store(a.pid, at, Uint8Array.of(1))
    machine.store(b.pid, at, Uint8Array.of(2))
    expect([read(machine, a.pid, at).value, read(machine, b.pid, at).value]).toEqual([1, 2])
    check(machine, 2)
  })

  test('grows: the heap by brk, the stack by being touched, up to its limit', () => {
    const machine = new Machine(small)
    machine.signalsEnd = false
    const { pid, heap } = machine.spawn('a', { stack: 4 * page })
    expect(read(machine, pid, heap.start).verdict).toBe('segmentation fault')
    machine.brk(pid, heap.start + 100)
    expect(read(machine, pid, heap.start + 99).verdict).toBe('minor fault')
    expect(read(machine, pid, 0xc0000000 - 3 * page).verdict).toBe('minor fault')
    expect(read(machine, pid, 0xc0000000 - 4 * page - 1).verdict).toBe('segmentation fault')
    machine.brk(pid, heap.start)
    expect(read(machine, pid, heap.start).verdict).toBe('segmentation fault')
    check(machine, 2)
  })

  test.each([
    ['where nothing is', 0x20000000, 'read', 'no region'],
    ['a write to text', 0x08000000, 'write', 'not allowed'],
    ['instructions from the stack', 0xc0000000 - 8, 'fetch', 'not allowed'],
    ['the kernel’s memory', 0xc0000010, 'read', 'not user'],
  ] as const)('is protected: %s is a segmentation fault that ends the process', (_, address, kind, cause) => {
    const machine = new Machine(small)
    const { pid } = machine.spawn('a')
    const [access] = machine.access(pid, { kind, address })
    expect(access).toMatchObject({
      process: pid,
      address,
      kind,
      verdict: 'segmentation fault',
      fault: { cause },
    })
    expect(() => machine.process(pid)).toThrow(/has ended: segmentation fault: /)
    check(machine, 2)
  })
})

describe('sharing', () => {
  test('a library’s code is in memory once, however many processes run it', () => {
    const machine = new Machine(small)
    const library = machine.file(
      'libc.so',
      Uint8Array.from({ length: page }, (_, i) => i),
    )
    const pids = ['a', 'b', 'c'].map(name => machine.spawn(name, { libraries: [library] }).pid)
    const frames = pids.map(pid => machine.access(pid, { kind: 'fetch', address: 0x40000000 })[0]?.ppn)
    expect(new Set(frames).size).toBe(1)
    expect(machine.counters).toMatchObject({ majorFaults: 1, minorFaults: 2, pagesRead: 1 })
  })

  test('after fork pages are one until somebody writes', () => {
    const machine = new Machine(small)
    const parent = machine.spawn('a', { bss: 2 * page })
    const at = parent.regions[1]?.start as number
    machine.store(parent.pid, at, Uint8Array.of(1, 2, 3))
    const child = machine.fork(parent.pid)
    expect(read(machine, child.pid, at).ppn).toBe(read(machine, parent.pid, at).ppn)
    const [write] = machine.store(child.pid, at + 1, Uint8Array.of(9))
    expect(write).toMatchObject({ verdict: 'minor fault', fault: { cause: 'protected', action: 'copy' } })
    expect([...machine.load(child.pid, at, 3).bytes]).toEqual([1, 9, 3])
    expect([...machine.load(parent.pid, at, 3).bytes]).toEqual([1, 2, 3])
    // The parent's page is its own again: the first write takes the protection away, without a copy.
    expect(machine.store(parent.pid, at, Uint8Array.of(7))[0]?.fault?.action).toBe('unprotect')
    check(machine, 2)
  })

  test('a shared mapping of a file is written through to it', () => {
    const machine = new Machine(small)
    const bytes = new Uint8Array(page)
    const source = machine.file('notes', bytes)
    const { pid } = machine.spawn('a')
    const at = machine.mmap(pid, { length: page, source, shared: true })
    machine.store(pid, at + 5, Uint8Array.of(42))
    machine.munmap(pid, at, page)
    expect(bytes[5]).toBe(42)
  })
})

describe('replacement', () => {
  test('a page that may be used again needs a table for its entry, even where memory is full', () => {
    const machine = new Machine({
      virtualBits: 14,
      physicalBits: 13,
      pageSize: 64,
      frames: 12,
      pageTable: { levels: [4, 4], entry: 'p6', placement: 'frames' },
      caches: [],
      tlb: null,
      itlb: null,
    })
    const { pid } = machine.open('a')
    machine.store(pid, 0, Uint8Array.of(7))
    machine.store(pid, 64, Uint8Array.of(8))
    machine.mprotect(pid, 0, 64, { read: false, write: false, execute: false })
    // The last entry of that table goes, and the table with it; the page stays in its frame.
    machine.munmap(pid, 64, 64)
    for (let i = 0; machine.memory.free > 0; i++) machine.store(pid, 8192 + i * 64, Uint8Array.of(i))
    machine.mprotect(pid, 0, 64, { read: true, write: true, execute: false })
    check(machine, 2)
    expect(machine.load(pid, 0, 1).bytes[0]).toBe(7)
    check(machine, 2)
  })

  test('an address space larger than memory works, and only dirty pages are written', () => {
    const machine = new Machine({ ...small, frames: 16 })
    const { pid } = machine.spawn('a', { bss: 40 * page })
    const at = machine.process(pid).regions[1]?.start as number
    for (let i = 0; i < 40; i++) machine.store(pid, at + i * page, Uint8Array.of(i + 1))
    for (let round = 0; round < 2; round++)
      for (let i = 0; i < 40; i++) expect(read(machine, pid, at + i * page).value).toBe(i + 1)
    // Every page was written once; after that it is clean whenever it goes.
    expect(machine.counters.pagesWritten).toBe(40)
    expect(machine.counters.evictions).toBeGreaterThan(80)
    check(machine, 2)
  })

  test('Belady: with FIFO more frames can mean more faults, with LRU never', () => {
    const trace = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]
    const faults = (policy: string, frames: number): number => {
      const machine = new Machine({ preset: 'osc', frames, policy, tlb: null })
      const { pid } = machine.open('a')
      for (const vpn of trace) machine.access(pid, { kind: 'read', address: vpn * 256 })
      return machine.counters.pageFaults
    }
    expect([faults('fifo', 3), faults('fifo', 4)]).toEqual([9, 10])
    expect([faults('lru', 3), faults('lru', 4)]).toEqual([10, 8])
  })

  test('locally, a greedy process takes frames from nobody else', () => {
    const run = (allocation: 'local' | 'global'): number => {
      const machine = new Machine({ preset: 'osc', frames: 16, allocation, framesPerProcess: 8 })
      const [modest, greedy] = [machine.open('modest').pid, machine.open('greedy').pid]
      for (let i = 0; i < 200; i++) {
        machine.access(modest, { kind: 'read', address: (i % 4) * 256 })
        for (let k = 0; k < 8; k++)
          machine.access(greedy, { kind: 'read', address: ((i * 8 + k) % 64) * 256 })
      }
      return machine.process(modest).resident
    }
    expect(run('local')).toBe(4)
    expect(run('global')).toBeLessThan(4)
  })

  test('thrashing: where the working sets do not fit, the processor idles', { timeout: 30_000 }, () => {
    const share = (frames: number): number => {
      const machine = new Machine({ preset: 'osc', frames, cost: { diskLatency: 100_000 } })
      for (let p = 0; p < 4; p++) {
        const { pid } = machine.open(`p${p}`)
        machine.run(
          pid,
          Array.from({ length: 1000 }, (_, i) => ({ kind: 'write' as const, address: (i % 10) * 256 })),
        )
      }
      let accesses = 0
      for (const access of machine.step()) accesses = access.index
      expect(accesses).toBe(4000)
      expect(machine.workingSet(1, 40_000)).toBe(10)
      return machine.idle / machine.clock
    }
    const [roomy, tight] = [share(64), share(24)]
    expect(roomy).toBeLessThan(0.1)
    expect(tight).toBeGreaterThan(0.8)
  })
})

describe('a lens over a file', () => {
  const text = Uint8Array.from({ length: 16 * page }, (_, i) => 32 + (i % 90))

  test('needs no swap, as long as nobody writes', () => {
    const machine = new Machine({ ...small, frames: 16 })
    const { pid } = machine.spawn('a')
    const source = machine.lens(machine.file('book', text), lensNamed('latin1-utf16'))
    const at = machine.mmap(pid, { length: text.length * 2, source })
    for (let round = 0; round < 2; round++)
      for (let i = 0; i < text.length; i += 997) {
        const access = read(machine, pid, at + i * 2)
        expect(access).toMatchObject({ value: text[i], lens: 'latin1-utf16 of book' })
      }
    expect(machine.kernel.disk.used).toBe(0)
    expect(machine.counters.pagesWritten).toBe(0)
    expect(machine.counters.evictions).toBeGreaterThan(30)
  })

  test('a written page is the process’s own, and goes to swap', () => {
    const machine = new Machine({ ...small, frames: 16 })
    const { pid } = machine.spawn('a')
    const source = machine.lens(machine.file('book', text), lensNamed('latin1-utf16'))
    const at = machine.mmap(pid, { length: text.length * 2, source })
    machine.store(pid, at, Uint8Array.of(1, 2))
    for (let i = 1; i < 32; i++) read(machine, pid, at + i * page)
    expect(machine.kernel.disk.used).toBe(1)
    expect([...machine.load(pid, at, 4).bytes]).toEqual([1, 2, text[1], 0])
  })

  test('and a mapping through which the file could change exclude each other', () => {
    const machine = new Machine(small)
    const { pid } = machine.spawn('a')
    const file = machine.file('book', text)
    const at = machine.mmap(pid, { length: page, source: machine.lens(file, lensNamed('latin1-utf16')) })
    const shared = (): number => machine.mmap(pid, { length: page, source: file, shared: true })
    expect(shared).toThrow(/must not be writable through a shared mapping; unmap one of the two first/)
    machine.munmap(pid, at, page)
    expect(shared).not.toThrow()
  })
})

test('counters are the sums of the records, and nothing else', () => {
  const machine = new Machine({ preset: 'p6', frames: 40 })
  machine.signalsEnd = false
  const { pid } = machine.spawn('a', { bss: 60 * page })
  const random = new Random(5)
  const sums = counters()
  for (let i = 0; i < 3000; i++) {
    const address = 0x08001000 + random.below(64 * page)
    const kind = (['read', 'write', 'fetch'] as const)[random.below(3)] ?? 'read'
    for (const access of machine.access(pid, { kind, address, size: 1 + random.below(8) })) {
      // The record is plain data: it survives as JSON, as it is printed.
      expect(JSON.parse(JSON.stringify(access))).toEqual(access)
      count(sums, access)
    }
  }
  expect(sums).toEqual(machine.counters)
  expect(sums.violations).toBeGreaterThan(0)
})

test('the formula predicts the access time of a machine that has no queue', () => {
  const machine = new Machine({ preset: 'x86-64' })
  const { pid } = machine.open('a')
  const random = new Random(9)
  for (let i = 0; i < 20_000; i++)
    machine.access(pid, { kind: 'read', address: random.below(random.below(20) === 0 ? 2 ** 21 : 2 ** 14) })
  const { measured, predicted, terms } = accessTime(machine.config, machine.counters)
  expect(predicted).toBeGreaterThan(0.97 * measured)
  expect(predicted).toBeLessThan(1.03 * measured)
  expect(terms.map(({ name }) => name)).toEqual(['translation', 'data', 'page faults'])
})

describe('a machine that can’t be is refused in one sentence:', () => {
  test.each<[object, RegExp]>([
    [{ frames: 0 }, /^frames is 0: a machine without frames has no memory; give 1 or more$/],
    [{ frames: 65 }, /^frames is 65: 12 bits of physical address hold 64 pages of 64 bytes$/],
    [{ pageSize: 8192 }, /^pageSize is 8192: a page can't be larger than memory, 2\^12 bytes$/],
    [{ pageSize: 48 }, /^pageSize is 48: give a power of two$/],
    [
      { pageTable: { levels: [4, 5] } },
      /^pageTable\.levels is \[4,5\]: these are 9 bits, but a virtual page number has 8/,
    ],
    [{ pageTable: { levels: [] } }, /give the bits of one to five levels$/],
    [
      { tlb: { entries: 12, ways: 4 } },
      /^tlb\.ways is 4: 12 entries in sets of 4 are no power of two of sets/,
    ],
    [
      { caches: [{ unified: { size: 64, line: 128 } }] },
      /^caches\.0\.unified\.line is 128: a line can't be larger than the cache/,
    ],
    [{ caches: [{ data: { size: 64 } }] }, /^caches\.0 has only one of instruction and data/],
    [{ caches: [{ unified: { size: 96, line: 4, ways: 1 } }] }, /24 sets, and that must be a power of two$/],
    [{ tlb: { policy: 'plru', entries: 12, ways: 3 } }, /the policy plru needs a power of two$/],
    [{ nonsense: 1 }, /^nonsense is no parameter: there are .*virtualBits/],
    [{ preset: 'vax' }, /^preset is "vax": there is no such machine; there are lecture, /],
    [{ virtualBits: 64 }, /^virtualBits is 64: give a whole number from 1 to 53$/],
    [{ allocation: 'local' }, /^framesPerProcess is 0: local allocation needs 1 or more$/],
  ])('%#', (given, message) => {
    expect(() => machineConfig(given)).toThrow(expect.objectContaining({ code: 'config' }) as Error)
    expect(() => machineConfig(given)).toThrow(message)
  })

  test('and every preset can be', () => {
    for (const name of Object.keys(presets)) expect(machineConfig({ preset: name })).toEqual(presets[name])
  })
})
