// The thread of a write-back: looks at the written pages of a region, asks the lenses what that means for the file, edits it,
// and lets the lenses look at what it is then. It reads the region's memory like any other thread, with faults.
import { parentPort, workerData } from 'node:worker_threads'
import { lensNamed } from '../lens/catalogue.ts'
import type { Edit } from '../lens/lens.ts'
import { bufferAt } from '../sys/ffi.ts'
import { MemoryError, plain } from './errors.ts'
import type { ScanReply, WriteData } from './protocol.ts'
import { open, prepare, type Seen } from './source.ts'
import { sameIdentity } from '../backing/backing.ts'
import { storeIn } from './store.ts'
import { narrowed, writeBack } from './write-back.ts'

/** Bytes of memory that a lens is asked about at once, at most. */
const STEP = 2 ** 18

function write({ source, seen, cache, address, runs }: WriteData): Seen {
  if (source.origin.kind !== 'file')
    throw new MemoryError('no-put', 'Only files can be written back to; map the region with mode private')
  const store = storeIn(cache)
  const opened = open(source)
  let edits: Edit[]
  try {
    prepare(opened, store)
    if (!sameIdentity(opened.origin.identity, seen.identity))
      throw new MemoryError(
        'changed',
        `${source.origin.path} was changed by somebody else; nothing was written back`,
      )
    const lens = lensNamed(source.lenses.length === 0 ? 'verbatim' : source.lenses.join('|'))
    const { put } = lens
    if (put === undefined) throw new MemoryError('no-put', `The lens ${lens.name} has no way back`)
    edits = []
    for (const { from, to } of runs)
      for (let at = from; at < Math.min(to, seen.size); at += STEP) {
        const length = Math.min(STEP, to - at, seen.size - at)
        // A copy: who writes meanwhile is written back by the next flush.
        const bytes = new Uint8Array(bufferAt(address + at, length)).slice()
        for (const edit of put.call(lens, opened.origin, at, bytes)) edits.push(edit)
      }
    edits = narrowed(opened.origin, edits)
  } finally {
    opened.view.close()
  }
  const identity = writeBack(source.origin.path, seen.identity, edits)
  if (identity === seen.identity) return seen
  const after = open(source)
  try {
    prepare(after, store)
    if (!sameIdentity(after.origin.identity, identity) || after.view.size !== seen.size)
      throw new MemoryError(
        'changed',
        `${source.origin.path} was changed while it was written back; map it again`,
      )
    return { identity, size: seen.size }
  } finally {
    after.view.close()
  }
}

if (parentPort !== null)
  try {
    const reply: ScanReply = { kind: 'seen', seen: write(workerData as WriteData) }
    parentPort.postMessage(reply)
  } catch (error) {
    parentPort.postMessage({ kind: 'failed', error: plain(error) } satisfies ScanReply)
  }
