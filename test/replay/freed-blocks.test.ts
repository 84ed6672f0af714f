// What is known of pages that a guest has given back.
import { expect, test } from 'vitest'
import { FreedBlocks } from '../../src/replay/freed-blocks.ts'
import { whole } from '../../src/replay/lenses.ts'

test('what made a page before it was given back is known until the epoch in which it was has been looked at', () => {
  const freed = new FreedBlocks()
  freed.add(7, 10, 2)
  expect([9, 10, 11, 12].map(page => freed.has(page, 6))).toEqual([false, true, true, false])
  freed.emptied(10, [whole(10, 3)])
  expect(freed.has(10, 6)).toBe(false)
  expect(freed.before(10)).toEqual([whole(10, 3)])
  expect(freed.before(11)).toBeUndefined()
  const gone: [number, number][] = []
  const goes = (page: number, epoch: number): number => gone.push([page, epoch])
  freed.looked(6, goes)
  expect(gone).toEqual([])
  freed.looked(7, goes)
  expect(gone).toEqual([
    [10, 7],
    [11, 7],
  ])
  expect([freed.has(11, 6), freed.before(10)]).toEqual([false, undefined])
})

test('a page that is given back again before anybody looked keeps what made it first', () => {
  const freed = new FreedBlocks()
  freed.add(7, 10, 1)
  freed.emptied(10, [whole(10, 3)])
  freed.add(9, 10, 1)
  expect(freed.before(10)).toEqual([whole(10, 3)])
  expect(freed.has(10, 6)).toBe(false)
})

test('a page that was written in the epoch in which it was given back, or later, holds what was written', () => {
  const freed = new FreedBlocks()
  freed.add(7, 10, 1)
  expect([6, 7, 8].map(written => freed.has(10, written))).toEqual([true, false, false])
  // Given back once more.
  freed.add(9, 10, 1)
  expect([8, 9].map(written => freed.has(10, written))).toEqual([true, false])
})
