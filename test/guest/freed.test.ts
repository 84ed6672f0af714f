// Random mallocs, frees and reallocs against the plainest model: a page may only go when no living block is on it.
import { expect, test } from 'vitest'
import { FreedPages } from '../../src/guest/freed.ts'

const pageBytes = 4096

test.each([
  [1, 4000, 1024],
  [2, 4000, 1024],
  [3, 4000, 1024],
  [4, 20_000, 104],
  [5, 20_000, 104],
])('only pages without a living block go (seed %i, %i places of %i bytes)', (seed, slots, slotBytes) => {
  let state = seed
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  // Blocks lie at the start of slots, and over several; what is free is any run of slots.
  const owner = new Int32Array(slots + 64).fill(-1)
  const blocks = new Map<number, number>()
  const living = (from: number, to: number): boolean =>
    [...blocks].some(([at, bytes]) => at < to && from < at + bytes)
  let trims = 0
  let releases = 0
  const pages = new FreedPages({
    trim(ranges) {
      for (const [from, to] of ranges) {
        expect(from % pageBytes).toBe(0)
        expect(to % pageBytes).toBe(0)
        expect(living(from, to)).toBe(false)
        trims++
      }
    },
    release(at, length) {
      releases++
      const [from, to] = [
        Math.ceil(at / pageBytes) * pageBytes,
        Math.floor((at + length) / pageBytes) * pageBytes,
      ]
      expect(living(from, to)).toBe(false)
    },
  })
  const place = (bytes: number): number => {
    const many = Math.ceil(bytes / slotBytes)
    const first = 1 + next(slots - many - 1) // 0 is no block
    for (let i = first; i < first + many; i++) if (owner[i] !== -1) return -1
    owner.fill(first, first, first + many)
    return first * slotBytes
  }
  for (let step = 0; step < 3000; step++) {
    const what = next(100)
    // Waves: mostly takes, then mostly gives.
    const takes = Math.floor(step / 500) % 2 === 0 ? 75 : 25
    if (what < takes) {
      const bytes = next(12) === 0 ? 32_768 + next(20_000) : 1 + next(3000)
      const at = place(bytes)
      if (at < 0) continue
      blocks.set(at, bytes)
      pages.taken(at, bytes)
    } else {
      const all = [...blocks.keys()]
      const at = all[next(all.length)]
      if (at === undefined) continue
      const bytes = blocks.get(at) as number
      blocks.delete(at)
      owner.fill(-1, at / slotBytes, Math.ceil((at + bytes) / slotBytes))
      if (next(8) === 0) continue // Given back by a function that nobody knows.
      if (next(5) === 0 && bytes > 64) {
        // It shrinks in its place.
        const less = 1 + next(bytes - 1)
        blocks.set(at, less)
        owner.fill(at / slotBytes, at / slotBytes, Math.ceil((at + less) / slotBytes))
        pages.given(at, at, less)
        pages.taken(at, less)
      } else pages.given(at)
      // What was never taken, or is free already, changes nothing.
      if (next(4) === 0) pages.given(at + 8)
    }
    if (next(200) === 0) pages.waits()
  }
  for (const at of blocks.keys()) {
    blocks.delete(at)
    pages.given(at)
  }
  pages.waits()
  expect(trims).toBeGreaterThan(20)
  expect(releases).toBeGreaterThan(4)
})
