// The thread of a first scan: opens a source, lets its lenses make their indexes, says what it saw, and is gone.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import type { Backing } from '../backing/backing.ts'
import { plain } from './errors.ts'
import type { ScanData, ScanReply } from './protocol.ts'
import { open, passes, prepare } from './source.ts'
import { storeIn } from './store.ts'

/** Milliseconds between two reports. */
const REPORT = 100

class Aborted extends Error {}

function scan({ source, cache, abort }: ScanData, port: MessagePort): void {
  const post = (reply: ScanReply): void => port.postMessage(reply)
  const flag = new Int32Array(abort)
  let done = 0
  let last = performance.now()
  const opened = open(source, { watch: origin => counted(origin, look) })
  const total = opened.origin.size * Math.max(1, passes(opened.steps).length)

  function look(bytes: number): void {
    done += bytes
    if (Atomics.load(flag, 0) !== 0) throw new Aborted('aborted')
    const now = performance.now()
    if (now - last < REPORT) return
    last = now
    post({ kind: 'progress', done: Math.min(done, total), total })
  }

  try {
    prepare(opened, storeIn(cache, true), () => look(0))
    const { size } = opened.view
    post({ kind: 'progress', done: total, total })
    post({ kind: 'seen', seen: { identity: opened.origin.identity, size } })
  } finally {
    opened.origin.close()
  }
}

/** A backing that tells how much of it is read. */
function counted(origin: Backing, look: (bytes: number) => void): Backing {
  return {
    size: origin.size,
    identity: origin.identity,
    read(offset, into) {
      const n = origin.read(offset, into)
      look(n)
      return n
    },
    hold: () => origin.hold(),
    close: () => origin.close(),
  }
}

if (parentPort !== null)
  try {
    scan(workerData as ScanData, parentPort)
  } catch (error) {
    parentPort.postMessage({ kind: 'failed', error: plain(error) } satisfies ScanReply)
  }
