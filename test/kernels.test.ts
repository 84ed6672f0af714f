import { describe, expect, it } from 'vitest'
import { PAGE, PageKernel, RECORD, SearchKernel } from '../src/kernels/index.ts'
import { logBytes, randomBytes } from './explain-helpers.ts'

/** Positions of the anchors that a kernel sees in bytes. */
function anchors(kernel: SearchKernel, bytes: Uint8Array, level = 0): number[] {
  kernel.beginFile()
  kernel.file.fill(0)
  kernel.file.set(bytes)
  const records = kernel.sampleFile(bytes.length - 31, 0, level)
  const view = new DataView(records.buffer, records.byteOffset, records.length)
  const found: number[] = []
  for (let at = 0; at < records.length; at += RECORD)
    if (view.getUint8(at + 11) === 0) found.push(view.getUint32(at + 4, true))
  return found
}

describe('page comparison', () => {
  it('marks the pages that differ, wherever the byte is', () => {
    const kernel = new PageKernel(16)
    const bytes = randomBytes(16 * PAGE, 1)
    kernel.a.set(bytes)
    kernel.b.set(bytes)
    expect(kernel.equalPages(16)).toBe(16)
    const places = [0, 4095, 3 * PAGE + 17, 9 * PAGE + 2048, 16 * PAGE - 1]
    for (const at of places) kernel.b[at] = (kernel.b[at] ?? 0) ^ 1
    expect(kernel.equalPages(16)).toBe(12)
    expect([...kernel.out.keys()].filter(i => kernel.out[i] === 0)).toEqual([0, 3, 9, 15])
  })

  it('knows a zero page from one with a single bit', () => {
    const kernel = new PageKernel(3)
    kernel.a[2 * PAGE - 1] = 1
    expect(kernel.zeroPages(3)).toBe(2)
    expect([...kernel.out]).toEqual([1, 0, 1])
  })

  it('refuses more pages than it has room for', () => {
    expect(() => new PageKernel(2).equalPages(3)).toThrow('3 pages in a kernel for 2')
  })
})

describe('anchors', () => {
  it('are about one position in 256', () => {
    const kernel = new SearchKernel()
    for (const bytes of [randomBytes(200_000, 1), logBytes(200_000, 2)]) {
      const density = anchors(kernel, bytes).length / bytes.length
      expect(density).toBeGreaterThan(1 / 600)
      expect(density).toBeLessThan(1 / 150)
    }
  })

  it('depend on content, not on where it lies', () => {
    const kernel = new SearchKernel()
    const bytes = randomBytes(20_000, 3)
    const plain = anchors(kernel, bytes)
    for (let shift = 1; shift < 64; shift++) {
      const moved = new Uint8Array(bytes.length + shift)
      moved.set(bytes, shift)
      expect(anchors(kernel, moved).filter(p => p >= shift)).toEqual(plain.map(p => p + shift))
    }
  })

  it('of a coarser level are a subset of the finer', () => {
    const kernel = new SearchKernel()
    const bytes = logBytes(200_000, 4)
    let finer = new Set(anchors(kernel, bytes))
    for (let level = 1; level < 5; level++) {
      const coarser = anchors(kernel, bytes, level)
      expect(coarser.every(p => finer.has(p))).toBe(true)
      expect(coarser.length).toBeLessThan(finer.size)
      finer = new Set(coarser)
    }
  })

  it('are not found where bytes repeat with a period of eight or less', () => {
    const kernel = new SearchKernel()
    for (let period = 1; period <= 8; period++) {
      const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => 65 + (i % period) * 7)
      expect(anchors(kernel, bytes)).toEqual([])
    }
    expect(anchors(kernel, new Uint8Array(20_000))).toEqual([])
  })
})

describe('paths in memory', () => {
  it('are found whole, with their ends', () => {
    const kernel = new SearchKernel()
    const text = '\0/tmp/a.bin\0x"/var/log/some file"=/etc/passwd:/usr/lib/x.so,a/b/c //no /x \0/home/é.txt\0'
    kernel.memory.set(Buffer.from(text))
    const found: string[] = []
    kernel.paths(Buffer.byteLength(text), path => found.push(path))
    expect(found).toEqual(
      expect.arrayContaining(['/tmp/a.bin', '/etc/passwd', '/usr/lib/x.so', '/home/é.txt']),
    )
    expect(found).not.toContain('/b/c')
  })
})
