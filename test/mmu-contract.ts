/**
 * What a pager promises, whatever MMU is under it: run on the kernel's (userfaultfd, test/mmu-kernel.test.ts) and on the simulated
 * machine's (test/machine/mmu.test.ts). Both decide with the same function, src/pager/decide.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { state } from '../src/pager/decide.ts'
import { Random } from '../src/machine/sets.ts'

export interface PagedMemory {
  readonly pageSize: number
  /** Maps pages that nothing explains; where. */
  zeros(pages: number): number
  /** Maps pages that are the bytes of `file` (whole pages) through the lens UTF-16 of Latin-1, dropped; where. */
  explained(file: Uint8Array): number
  read(at: number, length: number): Promise<Uint8Array>
  write(at: number, bytes: Uint8Array): Promise<void>
  /** Drops a page if it is clean. */
  drop(at: number): void
  /** The program removes pages. */
  remove(at: number, pages: number): void
  state(at: number): keyof typeof state
  /** Whether the page has physical memory. */
  resident(at: number): boolean
  close(): Promise<void>
}

const widen = (file: Uint8Array, length: number): Uint8Array => {
  const wide = new Uint8Array(length)
  for (let i = 0; i < file.length && i * 2 < length; i++) wide[i * 2] = file[i] as number
  return wide
}

export function mmuContract(name: string, make: () => Promise<PagedMemory>): void {
  describe(`the pager over ${name}`, () => {
    let memory: PagedMemory
    beforeAll(async () => {
      memory = await make()
    })
    afterAll(() => memory.close())

    /** Four pages of memory, and what they must hold. */
    const made = (seed: number): { at: number; want: Uint8Array; pages: number } => {
      const random = new Random(seed)
      const file = Uint8Array.from({ length: memory.pageSize * 2 }, () => 1 + random.below(255))
      return { at: memory.explained(file), want: widen(file, memory.pageSize * 4), pages: 4 }
    }
    const page = (want: Uint8Array, n: number): Uint8Array =>
      want.subarray(n * memory.pageSize, (n + 1) * memory.pageSize)

    test('memory that nobody has touched is zeros', async () => {
      const at = memory.zeros(3)
      expect(await memory.read(at + memory.pageSize - 4, 8)).toEqual(new Uint8Array(8))
    })

    test('a virtual page has no memory; a touch makes it again, clean', async () => {
      const { at, want } = made(1)
      expect([memory.state(at), memory.resident(at)]).toEqual(['virtual', false])
      expect(await memory.read(at, memory.pageSize)).toEqual(page(want, 0))
      expect([memory.state(at), memory.resident(at)]).toEqual(['clean', true])
    })

    test('a clean page is dropped and comes back, as often as one likes', async () => {
      const { at, want } = made(3)
      for (let i = 0; i < 3; i++) {
        expect(await memory.read(at + memory.pageSize, memory.pageSize)).toEqual(page(want, 1))
        memory.drop(at + memory.pageSize)
        expect(memory.state(at + memory.pageSize)).toBe('virtual')
        expect(memory.resident(at + memory.pageSize)).toBe(false)
      }
    })

    test('a write to a virtual page keeps the write and all else of the page', async () => {
      const { at, want } = made(4)
      await memory.write(at + 5, Uint8Array.of(7, 8, 9))
      const expected = page(want, 0).slice()
      expected.set([7, 8, 9], 5)
      expect(memory.state(at)).toBe('present')
      expect(await memory.read(at, memory.pageSize)).toEqual(expected)
    })

    test('a write to a clean page makes it the program’s own; it is not dropped any more', async () => {
      const { at, want } = made(5)
      await memory.read(at, 1)
      await memory.write(at, Uint8Array.of(77))
      expect(memory.state(at)).toBe('present')
      memory.drop(at)
      expect([memory.state(at), memory.resident(at)]).toEqual(['present', true])
      expect((await memory.read(at, 2)).at(0)).toBe(77)
      // Its neighbours are what they were.
      expect(await memory.read(at + memory.pageSize, memory.pageSize)).toEqual(page(want, 1))
    })

    test('a page that the program removes is zeros, although a lens explained it', async () => {
      const { at, want } = made(6)
      await memory.read(at, 1)
      memory.remove(at, 2)
      expect(await memory.read(at, 2 * memory.pageSize)).toEqual(new Uint8Array(2 * memory.pageSize))
      expect(await memory.read(at + 2 * memory.pageSize, memory.pageSize)).toEqual(page(want, 2))
    })

    test('1,000 random operations leave what an array would hold (seed 7)', { timeout: 60_000 }, async () => {
      const random = new Random(7)
      const areas = [made(8), made(9), made(10)].map(area => ({ ...area, want: area.want.slice() }))
      const at = memory.zeros(4)
      areas.push({ at, want: new Uint8Array(memory.pageSize * 4), pages: 4 })
      for (let i = 0; i < 1000; i++) {
        const { at: start, want } = areas[random.below(areas.length)] as (typeof areas)[number]
        const offset = random.below(want.length - 16)
        const length = 1 + random.below(16)
        const n = Math.floor(offset / memory.pageSize)
        const what = random.below(10)
        if (what < 4)
          expect(await memory.read(start + offset, length)).toEqual(want.subarray(offset, offset + length))
        else if (what < 6) {
          const bytes = Uint8Array.from({ length }, () => random.below(256))
          await memory.write(start + offset, bytes)
          want.set(bytes, offset)
        } else if (what < 9) memory.drop(start + n * memory.pageSize)
        else if (random.below(10) === 0) {
          memory.remove(start + n * memory.pageSize, 1)
          want.fill(0, n * memory.pageSize, (n + 1) * memory.pageSize)
        }
      }
      for (const { at: start, want } of areas) expect(await memory.read(start, want.length)).toEqual(want)
    })
  })
}
