// When the tags of a guest's bytes take more time than recording is worth.
import { expect, test } from 'vitest'
import { engine, type EngineGlobal } from '../../src/guest/engine.ts'
import { tagsAt } from '../../src/replay/assemble.ts'
import { Tags } from '../../src/replay/tags.ts'

const pages = 128 * 512
/** Pages for which the kernel clears tags in one go. */
const block = 512

function tags(): Tags {
  const memory = new engine.Memory({ initial: (pages * 4096) / 65_536 + Math.ceil(tagsAt / 65_536) })
  const global = (): EngineGlobal => ({ value: 0 }) as EngineGlobal
  const globals = {
    'lethe:tag1': global(),
    'lethe:tag2': global(),
    'lethe:tag4': global(),
    'lethe:tag8': global(),
  }
  return new Tags(memory, globals, pages)
}

test('who reads here and there in more than there may be tags for is told from who goes on in one direction', () => {
  const marks = tags()
  for (let epoch = 0; epoch < 20; epoch++) {
    for (let i = 0; i < 120; i++) marks.touched(i * block + epoch)
    marks.next(pages, pages * 4096)
  }
  expect(marks.scattered).toBe(true)
  const loads = tags()
  for (let page = 0; page < pages; page++) {
    loads.touched(page)
    if (page % 100 === 99) loads.next(page, pages * 4096)
  }
  expect(loads.scattered).toBe(false)
})

test('a table of which all the tags have room is not scattered', () => {
  const table = tags()
  for (let epoch = 0; epoch < 400; epoch++) {
    for (let i = 0; i < 40; i++) table.touched((i * 7919 + epoch * 31) % (20 * block))
    table.next(20 * block, pages * 4096)
  }
  expect(table.scattered).toBe(false)
})
