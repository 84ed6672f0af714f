import { mkdtempSync, openSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Batch } from '../src/sys/batch.ts'
import { EAGAIN } from '../src/sys/errno.ts'
import { Poller, eventfd, signalEvent } from '../src/sys/fd.ts'
import { arena, nr } from '../src/sys/ffi.ts'
import { removeFolder } from '../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-batch-'))
afterAll(() => removeFolder(folder))

describe.skipIf(process.platform !== 'linux' || process.arch !== 'x64')(
  'batch (needs Linux on x86-64)',
  () => {
    const path = join(folder, 'file')
    writeFileSync(path, 'the quick brown fox')
    const file = openSync(path, 'r')
    const memory = arena(4096)
    const text = (n: number): string => Buffer.from(memory.bytes.subarray(0, n)).toString('latin1')
    const pread = (batch: Batch, i: number, fd: number, bytes: number, offset: number, to = 0): void =>
      batch.set(i, nr.pread64, fd, memory.address + to, bytes, offset, bytes)

    test('calls are made in order, and each says what it gave', () => {
      const batch = Batch.open(3)
      expect(batch).toBeDefined()
      if (batch === undefined) return
      pread(batch, 0, file, 5, 4)
      pread(batch, 1, file, 6, 9, 5)
      batch.set(2, nr.gettid, 0, 0, 0, 0, 0)
      expect(batch.run(3)).toBe(3)
      expect(text(11)).toBe('quick brown')
      expect([batch.result(0), batch.result(1)]).toEqual([5, 6])
      expect(batch.result(2)).toBeGreaterThan(0)
    })

    test('what gives too little, or an error, is the last', () => {
      const batch = Batch.open(2)
      if (batch === undefined) return
      memory.bytes.fill(46)
      pread(batch, 0, file, 8, 16)
      pread(batch, 1, file, 3, 0, 100)
      expect(batch.run(2)).toBe(0)
      expect(batch.result(0)).toBe(3)
      expect(memory.bytes[100]).toBe(46)
      pread(batch, 0, -1, 8, 16)
      expect(batch.run(2)).toBe(0)
      expect(batch.result(0)).toBe(-constants.errno.EBADF)
    })

    test('who waits reads what came in the same call', () => {
      const poller = new Poller()
      const [events, others] = [eventfd(), eventfd()]
      poller.add(events)
      poller.add(others)
      expect(poller.waitAndRead(0, events, memory.address, 8)).toBe(0)
      expect(poller.got).toBe(-EAGAIN)
      signalEvent(events)
      expect(poller.waitAndRead(1000, events, memory.address, 8)).toBe(1)
      expect(poller.got).toBe(8)
      expect(memory.f64[0]).toBe(5e-324)
      // Another descriptor is ready: there is nothing to read.
      signalEvent(others)
      expect(poller.waitAndRead(1000, events, memory.address, 8)).toBe(1)
      expect(poller.got).toBe(-EAGAIN)
      expect(poller.ready(0)).toBe(others)
    })
  },
)
