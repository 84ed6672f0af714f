// Borrows a thread of a process, or stops all of them, again and again; prints every 100 ms how often. To be killed.
import { writeSync } from 'node:fs'
import { borrowThread } from '../../src/process/agent.ts'
import { findGadgets } from '../../src/process/gadgets.ts'
import { stopAll } from '../../src/process/stop.ts'
import { nr } from '../../src/sys/ffi.ts'

const pid = Number(process.argv[2])
const gadgets = findGadgets(pid)
let count = 0
let next = performance.now() + 100

function step(): void {
  if (process.argv[3] === 'borrow') {
    const thread = borrowThread(pid, gadgets)
    for (let i = 0; i < 3; i++) thread.call(nr.gettid)
    thread.release()
    count++
  } else {
    const stop = stopAll(pid, 0, 20)
    if (stop !== undefined) {
      stop.release()
      count++
    }
  }
  if (performance.now() > next) {
    writeSync(1, `${count}\n`)
    next = performance.now() + 100
  }
  setImmediate(step)
}
step()
