// What is done for a calm guest that the keeper has not proved all pages of yet: pages are packed for the time being, epochs wait packed.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Backlog } from '../../src/replay/backlog.ts'
import { Lenses, pageBytes, whole } from '../../src/replay/lenses.ts'
import { Packer } from '../../src/replay/pack.ts'
import { type Epoch, pageState, sharedBytes, sharedOf, word } from '../../src/replay/protocol.ts'
import { Slices } from '../../src/replay/slices.ts'
import { Unproved } from '../../src/replay/unproved.ts'

const pages = 8

function calmGuest() {
  const shared = sharedOf(new SharedArrayBuffer(sharedBytes(pages)), pages)
  const guest = new Uint8Array(pages * pageBytes)
  const packer = new Packer()
  const lenses = new Lenses(pages, packer)
  const asked: number[] = []
  const unproved: Unproved = new Unproved({
    shared,
    guest,
    lenses,
    packer,
    prove: (page, recipe, before) => {
      lenses.set(page, recipe)
      shared.proved[page] = before
      shared.states[page] = pageState.asked
      asked.push(page)
    },
  })
  for (let page = 0; page < 4; page++) {
    guest.fill(page + 1, page * pageBytes, (page + 1) * pageBytes - 100)
    shared.lastWritten[page] = 5
  }
  shared.lastWritten[3] = 9
  shared.control[word.top] = 4
  shared.control[word.open] = 9
  return { shared, guest, lenses, asked, unproved }
}

test('pages of a calm guest are packed for the time being, but those that it may be writing', () => {
  const { shared, guest, asked, unproved } = calmGuest()
  shared.states[1] = pageState.clean
  unproved.calm = false
  expect(unproved.waits).toBe(false)
  unproved.calm = true
  while (unproved.waits) unproved.pack()
  expect(asked).toEqual([0, 2])
  // The guest's thread drops one of them.
  shared.states[2] = pageState.virtual
  const before = guest.slice(2 * pageBytes, 3 * pageBytes)
  guest.fill(0xee, 2 * pageBytes, 3 * pageBytes)
  expect(Buffer.compare(unproved.bytes(2) as Uint8Array, before)).toBe(0)
  expect([0, 1, 2, 3].map(page => unproved.has(page))).toEqual([true, false, true, true])
})

test('a page that was written after it was packed is what the guest has there', () => {
  const { shared, guest, unproved } = calmGuest()
  unproved.calm = true
  while (unproved.waits) unproved.pack()
  shared.lastWritten[0] = 9
  expect(unproved.isPacked(0)).toBe(false)
  expect(unproved.bytes(0)).toBeUndefined()
  shared.states[0] = pageState.physical
  guest[5] = 77
  expect(unproved.bytes(0)?.[5]).toBe(77)
})

test('a page that has another lens is proved', () => {
  const { shared, lenses, unproved } = calmGuest()
  unproved.calm = true
  while (unproved.waits) unproved.pack()
  shared.states[0] = pageState.virtual
  expect(unproved.has(0)).toBe(true)
  lenses.set(0, { pieces: [whole(0, 5)], residual: undefined, hash: 1 })
  unproved.settle(0)
  expect(unproved.has(0)).toBe(false)
  expect(unproved.bytes(0)).toBeUndefined()
})

test('epochs that wait packed come out in their order and as they were', () => {
  const logs = fc.array(fc.uint8Array({ minLength: 0, maxLength: 64 }).map(part => repeated(part, 500)))
  fc.assert(
    fc.property(logs, fc.nat(20), (inputs, packed) => {
      const backlog = new Backlog()
      inputs.forEach((log, id) => backlog.push({ id, inputs: log } as Epoch))
      for (let i = 0; i < packed && backlog.waits; i++) backlog.pack()
      for (const [id, log] of inputs.entries()) {
        expect(backlog.next).toBe(id)
        const epoch = backlog.shift() as Epoch
        expect(epoch.id).toBe(id)
        expect(Buffer.compare(epoch.inputs, log)).toBe(0)
        // Who reads a log wants words.
        expect(epoch.inputs.byteOffset % 4).toBe(0)
        if (id % 3 === 0 && backlog.waits) backlog.pack()
      }
      expect(backlog.shift()).toBeUndefined()
      expect(backlog.waits).toBe(false)
    }),
    { numRuns: 40 },
  )
})

const repeated = (part: Uint8Array, times: number): Uint8Array => {
  const all = new Uint8Array(part.length * times)
  for (let i = 0; i < times; i++) all.set(part, i * part.length)
  return all
}

test('slices are what an epoch left, of the last epochs, and never those of the one that is being put together', () => {
  const memory = Uint8Array.from({ length: 4 * pageBytes }, (_, i) => i % 251)
  const slices = new Slices()
  const piece = (epoch: number) => ({ epoch, from: 100, at: 8, length: 50 })
  for (const epoch of [1, 2, 3]) slices.put(epoch, [whole(epoch, epoch), piece(epoch)], memory, [])
  slices.put(4, [piece(4)], memory, [1, 2, 4])
  expect([1, 2, 3, 4].map(epoch => slices.get(piece(epoch)) !== undefined)).toEqual([true, true, false, true])
  expect(Buffer.compare(slices.get(piece(1)) as Uint8Array, memory.subarray(100, 150))).toBe(0)
  expect(slices.get(whole(2, 2))?.length).toBe(pageBytes)
  slices.clear()
  expect(slices.get(piece(1))).toBeUndefined()
})
