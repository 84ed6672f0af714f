// Giving pages back.
//
// A page may be dropped only while it certainly still is the page that was proved equal: not written since, and not
// unmapped and replaced by another (an event of which may be on its way). So for the instant of the drop all threads of
// the target stand still and the server has handled every event. Freeing 300 MB takes the kernel 20 ms,
// so nothing is freed in that instant: the agent *moves* the pages away (mremap with MREMAP_DONTUNMAP moves
// whole page tables, 300 MB in 0.4 ms, and leaves the mapping registered and empty), and frees them when the
// program runs again.
//
//   agent: reserve a scratch range (journalled) → stop all → sync with the server
//   → the server held: still protected? clean → dropping → agent: mremap each run, some at a time → let go → dropping → virtual, wake who waits
//   → agent: free the scratch range in pieces, then give its addresses back, all at once
//
// If we die anywhere in this, the threads go on, a fault on a `dropping` page waits, and the successor looks which pages
// are gone.
import { EFAULT } from '../sys/errno.ts'
import { nr } from '../sys/ffi.ts'
import { page, pinTo, runFirst, scanPages } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { type Agent, remote, type RemoteCall, sealName } from '../process/agent.ts'
import { type Mapping, readMaps } from '../process/maps.ts'
import { stopAll } from '../process/stop.ts'
import { agePages, blockBytes, counter, type Journal, pageBytes, state } from './journal.ts'

/** A run of pages that are `clean` and may go. */
export interface Run {
  readonly start: number
  readonly end: number
}

/** What a drop came to. */
export interface Dropped {
  pages: number
  /** Longest and total time that the target's threads stood still, milliseconds. */
  longest: number
  total: number
  stops: number
  /** The agent was lost in a call: it must have ended, and then `settle` be called. */
  unsettled?: boolean
  /** Runs that there was no stop for: the target was too busy in the kernel. Try again later. */
  left: readonly Run[]
}

/**
 * For how long pages are marked in one stop, milliseconds, before the rest is left for the next. Counted from when all
 * threads stand still: to stop 200 of them takes 3 ms, to let them go as long again, and a stop that ended there
 * would be for nothing. But not beyond `lastMark` after the first was told to stop, if it leaves `leastMark`.
 */
const markLimit = 5
const lastMark = 9
const leastMark = 1
/** What is marked is moved, which takes a quarter of the time (to unmark it takes longer); unless the stop has lasted this long. */
const stopLimit = 14
/** How long to wait for all threads to stop before giving up for now. */
const settleLimit = 10
/** How long a packet of moves may take before the agent is given up, milliseconds. */
const moveLimit = 100
/** Moves in a packet: what is between two looks at the clock. */
const movesAtOnce = 16
const moveFlags = 7 // MREMAP_MAYMOVE | FIXED | DONTUNMAP
const mostPerStop = 2 ** 32
/** Scratch memory for the rehearsal: a page, a gap, and where the page is moved. */
const rehearsalBytes = 4 * pageBytes
/** A run is looked at and moved in pieces of this size, so that a stop can end between two of them. */
const largestRun = 64 << 20

export interface DropTarget {
  readonly pid: number
  readonly fd: number
  readonly pagemap: number
  readonly journal: Journal
  readonly agent: Agent
  /** Waits until the server has handled what is pending, and lets it stand still during `action`; false when it did not within the time. */
  hold(ms: number, action: () => void): boolean
  /** The server's thread, and the CPU on which it was when it was last held, and is. */
  server(): { readonly cpu: number; readonly thread: number }
}

export const nothingDropped = (): Dropped => ({ pages: 0, longest: 0, total: 0, stops: 0, left: [] })

/** Drops the clean pages of `runs`. */
export function drop(target: DropTarget, runs: readonly Run[]): Dropped {
  const dropped: Dropped = nothingDropped()
  const queue: Run[] = []
  for (const { start, end } of runs)
    for (let at = start; at < end; at += largestRun)
      queue.push({ start: at, end: Math.min(end, at + largestRun) })
  queue.sort((a, b) => a.end - a.start - (b.end - b.start))
  let failures = 0
  while (queue.length > 0 && failures < 10 && !dropped.unsettled) {
    if (failures > 0) sleep(2 * failures)
    const batch: Run[] = []
    let bytes = 0
    while (queue.length > 0 && batch.length < 400 && bytes < mostPerStop) {
      const run = queue.pop() as Run
      batch.push(run)
      bytes += run.end - run.start + 2 * blockBytes
    }
    const torn: Run[] = []
    const left = episode(target, batch, bytes, dropped, torn)
    if (left === undefined) {
      failures++
      queue.push(...batch.reverse())
    } else {
      if (left.length === batch.length) failures++
      queue.push(...left.reverse())
    }
    if (torn.length > 0) queue.push(...split(torn, readMaps(target.pid)))
  }
  dropped.left = queue
  return dropped
}

// The parts of the runs that lie in different mappings.
function split(runs: readonly Run[], mappings: readonly Mapping[]): Run[] {
  const parts: Run[] = []
  for (const run of runs)
    for (const { start, end } of mappings) {
      const part = { start: Math.max(start, run.start), end: Math.min(end, run.end) }
      if (part.start < part.end && part.end - part.start < run.end - run.start) parts.push(part)
    }
  return parts
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/**
 * One stop. The runs that there was no time for, or undefined when the target could not be stopped. `torn` gets runs that go
 * from one mapping into the next (mprotect and madvise split them): the kernel moves only what lies in one.
 */
function episode(
  target: DropTarget,
  runs: readonly Run[],
  bytes: number,
  sum: Dropped,
  torn: Run[],
): Run[] | undefined {
  const { journal, agent } = target
  const scratch = reserveScratch(agent, journal, bytes + rehearsalBytes)
  const marked: Run[] = []
  const moved: Run[] = []
  const rest: Run[] = []
  let to = scratch
  const spans = neighbours(runs)
  if (scratch >= 0) rehearse(target, spans, scratch + bytes)
  if (agent.late) sum.unsettled = true
  if (scratch < 0 || sum.unsettled) return undefined
  const stop = stopAll(target.pid, agent.footing.tid, settleLimit)
  if (stop !== undefined) {
    const crew = [agent.footing.tid, target.server().thread]
    for (const tid of crew) runFirst(tid, true)
    // Nobody changes a state while we mark: the server stands still too, for some microseconds.
    const held = target.hold(settleLimit, () => {
      const still = performance.now()
      const end = Math.max(Math.min(still + markLimit, stop.began + lastMark), still + leastMark)
      for (const near of spans) {
        if (performance.now() > end) rest.push(...near)
        else
          for (const piece of stillProtected(target, near))
            journal.markRuns(piece.start, piece.end, state.clean, state.dropping, (start, end) =>
              marked.push({ start, end }),
            )
      }
    })
    if (!held) rest.push(...runs)
    for (let next = 0; next < marked.length; ) {
      if (sum.unsettled || performance.now() - stop.began > stopLimit) {
        for (const piece of marked.slice(next)) {
          journal.exchangeRun(piece.start, piece.end, state.dropping, state.clean)
          rest.push(piece)
        }
        break
      }
      const pieces = marked.slice(next, next + movesAtOnce)
      next += pieces.length
      const moves = pieces.map(({ start, end }): RemoteCall => {
        // The same offset in 2 MiB as at the source lets the kernel move whole page tables.
        to = Math.ceil((to - (start % blockBytes)) / blockBytes) * blockBytes + (start % blockBytes)
        const move: RemoteCall = [nr.mremap, start, end - start, end - start, moveFlags, to]
        to += end - start
        return move
      })
      const done = remote(agent, moves, moveLimit)
      if (done === undefined) sum.unsettled = true
      else
        pieces.forEach((piece, i) => {
          if ((done[i] as number) >= 0) moved.push(piece)
          else {
            journal.exchangeRun(piece.start, piece.end, state.dropping, state.clean)
            if (done[i] === -EFAULT) torn.push(piece)
          }
        })
    }
    // A child forked before they are freed must not keep them.
    if (moved.length > 0 && !sum.unsettled)
      remote(agent, [[nr.madvise, scratch, bytes, 10 /* MADV_DONTFORK */]], 1000)
    const stood = stop.release()
    for (const tid of crew) runFirst(tid, false)
    pinTo(-1, agent.footing.tid)
    sum.longest = Math.max(sum.longest, stood)
    sum.total += stood
    sum.stops++
  }
  for (const { start, end } of moved) {
    journal.exchangeRun(start, end, state.dropping, state.virtual)
    sum.pages += (end - start) / pageBytes
    Atomics.add(journal.counters, counter.droppedPages, (end - start) / pageBytes)
  }
  // Faults that came while a page was `dropping` wait; they fault again and find it virtual, or there after all.
  if (Atomics.exchange(journal.counters, counter.waiting, 0) > 0)
    for (const { start, end } of marked) uffd.wake(target.fd, start, end - start)
  if (sum.unsettled || !freeScratch(target)) sum.unsettled = true
  return stop === undefined ? undefined : rest
}

// All that will run while the target stands still has run just before: compiled, its tables in the caches, and
// the agent and the server awake. The page that is moved here lies in the scratch range and is nobody's.
function rehearse(target: DropTarget, spans: readonly Run[][], scratch: number): void {
  const { journal, agent } = target
  for (const near of spans.slice(0, 8))
    for (const piece of stillProtected(target, near))
      journal.markRuns(piece.start, piece.end, state.none, state.none, () => {})
  remote(agent, [[nr.mmap, scratch, pageBytes, 3, 0x32 /* PRIVATE | ANONYMOUS | FIXED */, -1, 0]])
  if (uffd.register(target.fd, scratch, pageBytes) < 0) return
  for (let i = 0; i < 3; i++) {
    remote(agent, [[nr.mremap, scratch, pageBytes, pageBytes, moveFlags, scratch + 2 * pageBytes]], moveLimit)
    target.hold(settleLimit, () => {})
    // The server reads an event of each move while the agent waits: a hand-over costs 3 µs on one CPU and 30 between two.
    if (i === 0) pinTo(target.server().cpu, agent.footing.tid)
  }
}

const reserved = 0x4022 // MAP_PRIVATE | ANONYMOUS | NORESERVE

// The scratch range: a page that is its seal, then `bytes` of addresses. The address of these, or a negative errno.
function reserveScratch(agent: Agent, journal: Journal, bytes: number): number {
  const whole = bytes + pageBytes
  const [start = -1, file = -1] =
    remote(agent, [
      [nr.mmap, 0, whole, 0, reserved, -1, 0],
      [nr.memfd_create, agent.footing.area + sealName, 1],
    ]) ?? []
  if (start < 0) return start
  const seal =
    file < 0
      ? file
      : remote(agent, [
          [nr.mmap, start, pageBytes, 0, 0x12 /* PRIVATE | FIXED */, file, 0],
          [nr.close, file],
        ])?.[0]
  if (seal !== start) {
    remote(agent, [[nr.munmap, start, whole]])
    return -1
  }
  journal.scratch = { start, length: whole }
  journal.moving = true
  return start + pageBytes
}

/**
 * Whether the scratch range of a journal still is ours. It is given back by one call, the seal with the rest: when the seal
 * is gone, the program may have something of its own there.
 */
export const isSealed = (journal: Journal, mappings: readonly Mapping[]): boolean =>
  mappings.some(m => m.start === journal.scratch.start && m.name === '/memfd:lethe')

/**
 * Frees what an episode moved away, in pieces so that the program's page faults get in between; the addresses go last,
 * all at once. Before that the server has to have handled every move of ours: as soon as the addresses are free the
 * program may move something there itself. Who takes over asks `isSealed` first. False when the agent did not answer: then it is not known what is free.
 */
export function freeScratch({
  agent,
  journal,
  hold,
}: Pick<DropTarget, 'agent' | 'journal' | 'hold'>): boolean {
  const { start, length } = journal.scratch
  if (length === 0) return true
  for (let tries = 0; journal.moving; tries++) {
    if (tries === 60) return false
    hold(1000, () => {
      journal.moving = false
    })
  }
  const piece = 64 << 20
  for (let at = pageBytes; at < length; at += piece)
    remote(agent, [
      [nr.mmap, start + at, Math.min(piece, length - at), 0, reserved | 0x10 /* FIXED */, -1, 0],
    ])
  if (remote(agent, [[nr.munmap, start, length]]) === undefined) return false
  journal.scratch = { start: 0, length: 0 }
  return true
}

/** Runs with a smaller gap between them are looked up in one go. */
const nearBytes = 1 << 20

/** The runs by address, those that are near each other together. */
function neighbours(runs: readonly Run[]): Run[][] {
  const spans: Run[][] = []
  let last: Run[] = []
  for (const run of runs.toSorted((a, b) => a.start - b.start)) {
    const first = last[0]
    const before = last.at(-1)
    if (
      first !== undefined &&
      before !== undefined &&
      run.start - before.end < nearBytes &&
      run.end - first.start <= largestRun
    )
      last.push(run)
    else spans.push((last = [run]))
  }
  return spans
}

// The page table's word on it: what of these runs, which are in order, is present, and under the protection that was
// there when they were compared.
function stillProtected(target: DropTarget, runs: readonly Run[]): Run[] {
  const pieces: Run[] = []
  const { start: from } = runs[0] as Run
  const { end: to } = runs.at(-1) as Run
  let at = 0
  scanPages(target.pagemap, from, to, page.present, page.written, 0, (start, end) => {
    while (at < runs.length && (runs[at] as Run).end <= start) at++
    for (let i = at; i < runs.length; i++) {
      const run = runs[i] as Run
      if (run.start >= end) break
      pieces.push({ start: Math.max(start, run.start), end: Math.min(end, run.end) })
    }
  })
  return pieces
}

/**
 * For a successor: whatever the program removed, it has only just removed. The ages of a predecessor tell nothing of it, for
 * its ticks may have had another length.
 */
export function unsettle(journal: Journal, tick: number): void {
  for (const block of journal.blocks())
    journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
      if (s !== state.absent && s !== state.verifying) return
      for (let at = start; at < end; at += agePages * pageBytes) journal.setAge(at, tick)
      journal.setAge(end - pageBytes, tick)
    })
}

/**
 * For a successor, and after an agent died in a call: puts right what the death left half done, by what the page
 * table says. The agent that moved pages must have ended; the server may run.
 */
export function settle(target: {
  readonly fd: number
  readonly pagemap: number
  readonly journal: Journal
  /** Whether what was removed around an address must be gone by now. */
  settled(at: number): boolean
}): void {
  const { journal, pagemap } = target
  for (const block of journal.blocks())
    journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
      if (s === state.verifying) {
        // Among them may be pages that the program has removed: who verified them had not looked twice yet.
        scanPages(pagemap, start, end, 0, 0, page.present | page.swapped, (from, to) => {
          for (let at = from; at < to; at += pageBytes)
            if (target.settled(at)) journal.exchange(at, state.verifying, state.present)
        })
        for (let at = start; at < end; at += pageBytes) journal.exchange(at, state.verifying, state.absent)
      }
      if (s !== state.dropping && s !== state.virtual) return
      scanPages(pagemap, start, end, 0, 0, page.present | page.swapped, (from, to, categories) => {
        // Still there. Protected: nobody has written it; otherwise it is the program's.
        const now = (categories & page.written) === 0 ? state.clean : state.present
        for (let at = from; at < to; at += pageBytes) journal.exchange(at, s, now)
      })
      if (s !== state.dropping) return
      for (let at = start; at < end; at += pageBytes) journal.exchange(at, state.dropping, state.virtual)
      uffd.wake(target.fd, start, end - start)
    })
}
