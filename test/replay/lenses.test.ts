// The tables of lenses: what was put in comes out, however often records are replaced and copied together.
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { cutParts, Lenses, onTop, pageBytes, type Part, type Recipe, whole } from '../../src/replay/lenses.ts'
import type { Packer } from '../../src/replay/pack.ts'
import { randomOf } from './loaders.ts'

const none = undefined as unknown as Packer

test('recipes come out of the tables as they were put there', () => {
  const random = randomOf(41)
  const pages = 300
  const lenses = new Lenses(pages, none)
  const known = new Map<number, Recipe>()
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => random(256))
  for (let step = 0; step < 20_000; step++) {
    const page = random(pages)
    if (random(5) === 0) {
      lenses.delete(page)
      known.delete(page)
      continue
    }
    const residual = random(3) === 0 ? undefined : bytes(1 + random(1500))
    const kind = random(4)
    const pieces =
      kind === 0 && residual !== undefined
        ? []
        : kind === 1
          ? [whole(page, 1 + random(1000)), onTop(page, 1 + random(1000))]
          : kind === 2
            ? [{ epoch: 1 + random(1000), from: 0xffff_0000 + random(4096), at: random(100), length: 200 }]
            : [whole(page, 1 + random(1000))]
    const recipe: Recipe = { pieces, residual, hash: crc32(residual ?? new Uint8Array(1)) }
    lenses.set(page, recipe)
    known.set(page, recipe)
  }
  let residualBytes = 0
  for (let page = 0; page < pages; page++) {
    const recipe = known.get(page)
    expect(lenses.has(page)).toBe(recipe !== undefined)
    if (recipe === undefined) continue
    residualBytes += recipe.residual?.length ?? 0
    expect(lenses.parts(page)).toEqual([{ recipe, from: 0, at: 0, length: pageBytes }])
    expect(lenses.pieces(page)).toEqual(recipe.pieces)
    expect(lenses.epochOf(page)).toBe(recipe.pieces[0]?.epoch)
  }
  expect(known.size).toBeGreaterThan(100)
  expect(lenses.pages).toBe(known.size)
  expect(lenses.residualBytes).toBe(residualBytes)
  for (const page of known.keys()) lenses.delete(page)
  expect([lenses.pages, lenses.residualBytes, lenses.pieceBytes]).toEqual([0, 0, 0])
})

test('a residual that was taken out stays as it was', () => {
  const lenses = new Lenses(4, none)
  const residual = Uint8Array.from({ length: 1000 }, (_, i) => i)
  lenses.set(1, { pieces: [], residual, hash: 5 })
  const [part] = lenses.parts(1)
  for (let i = 0; i < 2000; i++)
    lenses.set(2, { pieces: [], residual: new Uint8Array(1000).fill(i), hash: i })
  lenses.delete(1)
  expect(part?.recipe.residual).toEqual(residual)
})

test('moved pages are made of parts of what others were, whatever becomes of these', () => {
  const random = randomOf(43)
  const pages = 400
  const lenses = new Lenses(pages, none)
  const known = new Map<number, readonly Part[]>()
  const check = (page: number): void => {
    expect(lenses.parts(page)).toEqual(known.get(page))
    const recipes = known.get(page)?.map(part => part.recipe) ?? []
    expect(lenses.pieces(page)).toEqual(recipes.flatMap(recipe => recipe.pieces))
  }
  for (let step = 0; step < 8000; step++) {
    const page = random(pages)
    const source = random(pages - 1)
    const both = known.has(source) && known.has(source + 1)
    if (random(2) === 0 && both) {
      const offset = random(pageBytes)
      const parts = cutParts(lenses.parts(source), offset, pageBytes, 0)
      if (offset > 0) parts.push(...cutParts(lenses.parts(source + 1), 0, offset, pageBytes - offset))
      if (parts.length > 40) continue
      lenses.setMoved(page, parts)
      known.set(page, parts)
      expect(lenses.isMoved(page)).toBe(true)
    } else if (random(9) === 0) {
      lenses.delete(page)
      known.delete(page)
    } else {
      const residual = Uint8Array.from({ length: 1 + random(900) }, () => random(256))
      const recipe: Recipe = { pieces: [whole(page, 1 + random(1000))], residual, hash: random(1e6) }
      lenses.set(page, recipe)
      known.set(page, [{ recipe, from: 0, at: 0, length: pageBytes }])
    }
    if (step % 7 === 0 && known.has(source)) check(source)
  }
  for (const page of known.keys()) check(page)
  for (const page of known.keys()) lenses.delete(page)
  expect([lenses.pages, lenses.residualBytes, lenses.pieceBytes]).toEqual([0, 0, 0])
})
