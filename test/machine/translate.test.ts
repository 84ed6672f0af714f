/** The lecture's problem sheets, courses' exercises, and quizzes. */
import { describe, expect, test } from 'vitest'
import { machineConfig } from '../../src/machine/configure.ts'
import { Machine } from '../../src/machine/machine.ts'
import { quiz } from '../../src/machine/quiz.ts'
import { Random } from '../../src/machine/sets.ts'
import { loadState } from '../../src/machine/state.ts'
import { type Sheet, translate } from '../../src/machine/translate.ts'

function blanks(sheet: Sheet): object {
  const { vpn, vpo, tlbi, tlbt, tlbHit, pageFault, ppn, ppo, physical, co, ci, ct, cacheHit, byte } = sheet
  return { vpn, vpo, tlbi, tlbt, tlbHit, pageFault, ppn, ppo, physical, co, ci, ct, cacheHit, byte }
}

describe('the lecture’s machine fills in', () => {
  const machine = loadState(machineConfig())

  test('0x03a9: TLB miss, page in memory, cache miss', () => {
    expect(blanks(translate(machine, 0x03a9))).toEqual({
      vpn: 0x0e,
      vpo: 0x29,
      tlbi: 2,
      tlbt: 3,
      tlbHit: false,
      pageFault: false,
      ppn: 0x11,
      ppo: 0x29,
      physical: 0x469,
      co: 1,
      ci: 0xa,
      ct: 0x11,
      cacheHit: false,
      byte: undefined,
    })
  })

  test('0x0040: page fault', () => {
    const sheet = translate(machine, 0x0040)
    expect(sheet).toMatchObject({ vpn: 1, vpo: 0, tlbi: 1, tlbt: 0, tlbHit: false, pageFault: true })
    expect(sheet.physical).toBeUndefined()
  })

  test.each([
    [
      0x03d4,
      {
        vpn: 0xf,
        tlbi: 3,
        tlbt: 3,
        tlbHit: true,
        physical: 0x354,
        ci: 5,
        ct: 0xd,
        cacheHit: true,
        byte: 0x36,
      },
    ],
    [0x03d7, { tlbHit: true, physical: 0x357, co: 3, ci: 5, cacheHit: true, byte: 0x1d }],
    [
      0x0020,
      { vpn: 0, tlbHit: false, pageFault: false, physical: 0xa20, co: 0, ci: 8, ct: 0x28, cacheHit: false },
    ],
    [0x0b8f, { vpn: 0x2e, tlbi: 2, tlbt: 0xb, tlbHit: false, pageFault: true }],
    [
      0x027c,
      {
        vpn: 9,
        tlbHit: false,
        pageFault: false,
        ppn: 0x17,
        physical: 0x5fc,
        ci: 0xf,
        ct: 0x17,
        cacheHit: false,
      },
    ],
  ])('%#: another of the same tables', (address, expected) => {
    expect(translate(machine, address)).toMatchObject(expected)
  })

  test('looking changes nothing', () => {
    const again = loadState(machineConfig())
    for (let address = 0; address < 2 ** 14; address += 7) translate(again, address)
    for (let address = 0; address < 2 ** 14; address += 11)
      expect(translate(again, address)).toEqual(translate(machine, address))
  })
})

test('a linear table as a list of entries: valid in bit 31, frame below', () => {
  const config = machineConfig({
    virtualBits: 14,
    physicalBits: 16,
    pageSize: 4096,
    pageTable: { levels: [2], entry: 'linear' },
    tlb: null,
    caches: [],
  })
  const machine = loadState(config, { pageTable: ['0x8000000c', '0x00000000', 0, '0x80000006'] })
  expect(translate(machine, 0x3229)).toMatchObject({ vpn: 3, pageFault: false, physical: 0x6229 })
  expect(translate(machine, 0x1369)).toMatchObject({ vpn: 1, pageFault: true })
})

test('two levels of one-byte entries in a dump of memory', () => {
  const config = machineConfig({
    virtualBits: 15,
    physicalBits: 12,
    pageSize: 32,
    pageTable: { levels: [5, 5], entry: 'byte', placement: 'frames' },
    tlb: null,
    caches: [],
  })
  // Directory in frame 108, entry 2 → table in frame 33, entry 19 → page in frame 57; entry 3 is not valid.
  const memory = new Uint8Array(4096).fill(0x7f)
  memory[108 * 32 + 2] = 0x80 | 33
  memory[33 * 32 + 19] = 0x80 | 57
  memory[57 * 32 + 5] = 0x1b
  const machine = loadState(config, { root: 108, memory: Buffer.from(memory).toString('hex') })
  const at = (2 << 10) | (19 << 5) | 5
  const sheet = translate(machine, at)
  expect(sheet).toMatchObject({ pageFault: false, physical: 57 * 32 + 5, byte: 0x1b })
  expect(sheet.walk.map(({ index, entry }) => [index, entry.valid, entry.frame])).toEqual([
    [2, true, 33],
    [19, true, 57],
  ])
  expect(translate(machine, 3 << 10).walk).toMatchObject([{ level: 1, entry: { valid: false } }])
  expect(translate(machine, (2 << 10) | (4 << 5)).walk).toMatchObject([
    {},
    { level: 2, entry: { valid: false } },
  ])
})

test('demand paging from a file, with a FIFO TLB: as a model with two lists counts it', () => {
  const random = new Random(7)
  const file = Uint8Array.from({ length: 65_536 }, () => random.below(256))
  const addresses = Array.from({ length: 1000 }, () => random.below(65_536))
  const machine = new Machine({ preset: 'osc' })
  const { pid } = machine.open('vm', machine.file('BACKING_STORE.bin', file))
  const tlb: number[] = []
  const frames: number[] = []
  let hits = 0
  for (const address of addresses) {
    const page = address >> 8
    if (tlb.includes(page)) hits++
    else {
      if (!frames.includes(page)) frames.push(page)
      if (tlb.push(page) > 16) tlb.shift()
    }
    const [access] = machine.access(pid, { kind: 'read', address })
    expect(access).toMatchObject({
      physical: frames.indexOf(page) * 256 + (address & 255),
      value: file[address],
    })
  }
  expect(machine.counters).toMatchObject({ tlbHits: hits, pageFaults: frames.length })
})

describe('a quiz', () => {
  test.each(['lecture', 'p6', 'x86-64', 'sv39', 'osc'])(
    'for %s is the same for the same seed, and right',
    preset => {
      const config = machineConfig({ preset })
      const made = quiz(config, 3, 12)
      expect(quiz(config, 3, 12)).toEqual(made)
      expect(quiz(config, 4, 12)).not.toEqual(made)
      const machine = loadState(config, made.state)
      for (const sheet of made.answers) expect(translate(machine, sheet.address)).toEqual(sheet)
      // Some are in memory, and one is not as a rule.
      expect(made.answers.some(({ physical }) => physical !== undefined)).toBe(true)
    },
  )
})

describe('a state that does not fit is refused:', () => {
  const config = machineConfig()
  test.each([
    [
      { pageTable: [{ vpn: 256, ppn: 0 }] },
      'pageTable, row 1, vpn is 256: give a whole number from 0 to below 256',
    ],
    [
      { pageTable: [{ vpn: 0, ppn: 64 }] },
      'pageTable, row 1, ppn is 64: give a whole number from 0 to below 64',
    ],
    [{ tlb: [{ set: 4, tag: 0, ppn: 0 }] }, 'tlb, row 1, set is 4: give a whole number from 0 to below 4'],
    [{ caches: { L2: [] } }, 'caches is "L2": this machine has L1'],
    [
      { caches: { L1: [{ set: 0, tag: 1, bytes: '0011' }] } },
      'caches.L1, row 1, bytes is "0011": a line of L1 has 4 bytes',
    ],
    [{ memory: '0g' }, 'memory is "0g": give two hex digits for every byte'],
  ])('%#', (state, message) => {
    expect(() => loadState(config, state)).toThrow(
      expect.objectContaining({ code: 'state', message }) as Error,
    )
  })
})
