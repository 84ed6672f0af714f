// Which epochs are tried for pages that their last one does not make by itself.
import { expect, test } from 'vitest'
import { Later } from '../../src/replay/later.ts'
import { pageBytes, type Piece, whole } from '../../src/replay/lenses.ts'
import { type Epoch, sharedBytes, sharedOf, word } from '../../src/replay/protocol.ts'

const pages = 64
const always = (): boolean => true

function piecesOfCopy(proved: (page: number) => readonly Piece[] | undefined): readonly Piece[] | undefined {
  const shared = sharedOf(new SharedArrayBuffer(sharedBytes(pages)), pages)
  const later = new Later(pages, proved, always)
  const made = new Uint8Array(pages * pageBytes)
  // A text, and then records with gaps in the memory that it had.
  made.fill(1, 10 * pageBytes, 11 * pageBytes)
  later.candidate(10, 3, made)
  for (let i = 10 * pageBytes; i < 11 * pageBytes; i += 8) made.fill(0, i, i + 4)
  later.candidate(10, 5, made)
  const copies = Uint32Array.of(20 * pageBytes, 10 * pageBytes, pageBytes)
  later.copies({ id: 6, copies } as Epoch)
  shared.lastWritten[20] = 6
  shared.control[word.open] = 100
  later.look(shared, 6)
  return later.take(always).find(trial => trial.page === 20)?.pieces
}

test('what is copied out of memory that was used again is made by what was proved to make it, or by the last two epochs', () => {
  const from = { from: 10 * pageBytes, at: 0, length: pageBytes }
  // Nobody has proved it yet: the records are put over the text.
  expect(piecesOfCopy(() => undefined)).toEqual([
    { epoch: 3, ...from },
    { epoch: 5, ...from, over: true },
  ])
  expect(piecesOfCopy(page => (page === 10 ? [whole(10, 5)] : undefined))).toEqual([{ epoch: 5, ...from }])
})

test('a page that an epoch wrote at which nobody has looked yet waits for it', () => {
  const shared = sharedOf(new SharedArrayBuffer(sharedBytes(pages)), pages)
  const later = new Later(pages, () => undefined, always)
  shared.control[word.open] = 100
  shared.lastWritten[5] = 19
  shared.lastWritten[6] = 20
  for (const page of [5, 6]) later.wanted(page)
  later.look(shared, 6, 20)
  expect(later.ready).toBe(1)
  later.look(shared, 6, 21)
  expect(later.ready).toBe(2)
})
