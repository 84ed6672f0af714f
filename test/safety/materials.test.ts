// The safety cases on memory that is not the file's own bytes: transcoded, decompressed, parsed, packed, in pieces. Each lens has the cases
// that differ for it; `LETHE_MATERIAL=NAME npx vitest run test/safety` plays all cases with another, and so does the stress
// (npm run stress -- --material NAME).
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { cannotRun, Lab, MiB, PAGE, Pager, type Stuff, Target } from './lab.ts'
import { leastOf, type MaterialName, materials } from './materials.ts'

vi.setConfig({ testTimeout: 120_000 })
const reason = cannotRun()
const lab = new Lab()
const sizeOf = (name: MaterialName): number => Math.max(6 * MiB, leastOf(name))
const size = 6 * MiB
afterAll(() => lab.close())
afterEach(() => lab.endAll())

/** A target of this stuff whose memory is virtual. A pack is the pager's own. */
async function dropped(stuff: Stuff): Promise<{ target: Target; pager: Pager; options: object }> {
  const options = stuff.name === 'packed' ? { pack: true } : { backings: [stuff.source] }
  const target = await Target.of(lab, stuff)
  // Of a heap in pieces some pages are left: those that hold too little of the file.
  const enough = stuff.name === 'recipe' ? target.length * 0.9 : target.length - 256 * 1024
  const pager = await Pager.dropped(lab, target.pid(), enough, options)
  const { backings } = await pager.ask('status')
  expect(backings.map(backing => backing.lens)).toContain(stuff.lens)
  return { target, pager, options }
}

const lenses = materials.filter((name): name is Exclude<MaterialName, 'verbatim'> => name !== 'verbatim')

describe.skipIf(reason !== undefined)(`lenses under fire${reason ? ` (${reason})` : ''}`, () => {
  test.each(lenses)(
    '%s: forks, writes, a moved block and a killed pager leave all bytes right',
    async name => {
      const { target, pager, options } = await dropped(lab.material(name, sizeOf(name), 11))
      const child = await target.fork()
      await target.fill(20 * PAGE + 100, 3 * PAGE, 5)
      await target.ask(`advise ${40 * PAGE} ${2 * PAGE} 4`)
      target.memory.fill(0, 40 * PAGE, 42 * PAGE)
      pager.process.kill('SIGKILL')
      const answer = target.check()
      const next = await pager.again(lab, options)
      await answer
      expect(await child.number(`sum ${100 * PAGE} ${50 * PAGE}`)).toBe(
        target.predicted(100 * PAGE, 50 * PAGE),
      )
      child.tell('exit 0')
      expect(await target.number(`relocate ${target.length}`)).toBe(0)
      target.base = await target.number('base')
      await target.check()
      await next.detach()
      await target.check()
    },
  )

  test.each(lenses.filter(name => name !== 'packed'))(
    '%s: who writes the file waits until the memory no longer depends on it',
    async name => {
      const stuff = lab.material(name, sizeOf(name), 12)
      const { target, pager } = await dropped(stuff)
      writeFileSync(stuff.source, 'something else')
      await target.check()
      expect((await pager.ask('status')).virtual).toBe(0)
      expect((await pager.ask('status')).lost).toBe(0)
      await pager.detach()
      await target.check()
    },
  )

  test('a damaged index is made again or refused, and never gives wrong bytes', async () => {
    const stuff = lab.material('gzip', size, 13)
    const { target, pager, options } = await dropped(stuff)
    // All that lenses keep on disk, each byte of it another.
    const folder = lab.directory
    let damaged = 0
    for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!entry.startsWith('cache/') || !/\.(lix|idx|spool)$/.test(entry)) continue
      const path = `${folder}/${entry}`
      const bytes = readFileSync(path)
      for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ 0xa5
      writeFileSync(path, bytes)
      damaged++
    }
    expect(damaged).toBeGreaterThan(0)
    // The one that serves has it open; the one that takes over finds it damaged.
    await target.check()
    await pager.ask('drop')
    pager.process.kill('SIGKILL')
    const next = await pager.again(lab, options)
    await target.check()
    await next.detach()
    await target.check()
  })
})
