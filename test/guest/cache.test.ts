/** What is kept of guests from run to run: bounded, by what was used least lately, and never in the way. */
import { mkdtempSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { cacheDirectory, keep, kept } from '../../src/guest/cache.ts'
import { removeFolder, trimFolder } from '../../src/sys/folder.ts'

let home = ''
const before = process.env.XDG_CACHE_HOME
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lethe-cache-'))
  process.env.XDG_CACHE_HOME = home
})
afterEach(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME
  else process.env.XDG_CACHE_HOME = before
  removeFolder(home)
})

it('gives what was kept, and nothing for what was not', () => {
  keep('a.wasm', new Uint8Array([1, 2, 3]))
  expect([...(kept('a.wasm') ?? [])]).toEqual([1, 2, 3])
  expect(kept('b.wasm')).toBeUndefined()
  keep('a.wasm', 'again')
  expect(kept('a.wasm')?.toString()).toBe('again')
  expect(readdirSync(cacheDirectory())).toEqual(['a.wasm'])
})

it('lets go of what was used least lately', () => {
  for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) {
    keep(name, new Uint8Array(1000))
    utimesSync(join(cacheDirectory(), name), 1000 + i, 1000 + i)
  }
  expect(kept('a')?.length).toBe(1000)
  trimFolder(cacheDirectory(), 2500)
  expect(readdirSync(cacheDirectory()).toSorted()).toEqual(['a', 'd'])
  trimFolder(cacheDirectory(), 2500)
  expect(readdirSync(cacheDirectory()).length).toBe(2)
  trimFolder(cacheDirectory(), 0)
  expect(readdirSync(cacheDirectory())).toEqual([])
})

it('is none where it can’t be written', () => {
  writeFileSync(join(home, 'lethe'), 'a file in the way')
  keep('a', 'b')
  expect(kept('a')).toBeUndefined()
})
