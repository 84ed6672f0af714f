// Where a pager's thread works: on the CPU of the thread that faults, or on another, watching, if that one is moved away each time.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CpuFollower } from '../src/pager/follow.ts'
import { currentCpu } from '../src/sys/memory.ts'

let faulting: ChildProcess
beforeEach(() => {
  faulting = spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
})
afterEach(() => faulting.kill('SIGKILL'))

/** Has the other process run on a CPU, and waits until it does. */
function move(cpu: number): void {
  const pid = String(faulting.pid)
  expect(spawnSync('taskset', ['-pc', String(cpu), pid]).status).toBe(0)
  const at = (): number => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[36])
  }
  for (const end = performance.now() + 5000; at() !== cpu; )
    if (performance.now() > end) throw new Error(`It is still on CPU ${at()}`)
}

test.skipIf(cpus().length < 2)('a thread is followed, and left alone when it will not stay', () => {
  const follower = new CpuFollower(faulting.pid as number)
  const faults = (count: number): void => {
    for (let i = 0; i < count; i++) follower.fault(faulting.pid as number)
  }
  let looks = 0
  const watched = (came: boolean): number => {
    looks = 0
    follower.watch(() => {
      looks++
      return came
    })
    return looks
  }
  const far = follower.handOff
  move(0)
  faults(2)
  expect(currentCpu()).toBe(0)
  const near = follower.handOff
  expect(near).toBeLessThan(far)
  // It stays for long: it may move once, and is followed.
  faults(2000)
  move(1)
  faults(1024)
  expect(currentCpu()).toBe(1)
  expect(follower.handOff).toBe(near)
  expect(watched(true)).toBe(0)

  for (let i = 0; i < 8 && follower.handOff === near; i++) {
    move(i % 2)
    for (let n = 0; n < 1024 && follower.handOff === near && currentCpu() !== i % 2; n++) faults(1)
  }
  expect(follower.handOff).toBeGreaterThan(near)
  expect(follower.handOff).toBeLessThan(far)
  // No longer than for some faults at once, nor for ever when none comes.
  expect(watched(true)).toBe(16)
  for (let i = 0; i < 4; i++) expect(watched(false)).toBeGreaterThan(0)
  expect(watched(true)).toBe(0)
  expect(follower.handOff).toBe(far)
  // After a while it is tried anew.
  faults(300)
  expect(follower.handOff).toBe(near)
  follower.release()
  expect(follower.handOff).toBe(far)
})
