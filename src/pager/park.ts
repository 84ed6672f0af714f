// The park: a socket pair whose two ends both lie in the target. Descriptors that must survive us wait in it as unread
// messages, each with a line of JSON: `{"backing":n}`, `{"child":n}`, or `{"mark":…}` without a descriptor.
import { EAGAIN, errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import * as uffd from '../sys/uffd.ts'
import { PagerError } from './errors.ts'

/** What a predecessor left in the park. */
export interface Kept {
  children: { fd: number; n: number }[]
  backings: Map<number, number>
}

/** The park as the server uses it: for the descriptors of forked children. */
export class Park {
  readonly #in: number
  readonly #out: number
  #sent = 0
  #marks = 0

  constructor(parkIn: number, parkOut: number) {
    this.#in = parkIn
    this.#out = parkOut
  }

  /** Parks the userfaultfd of child `n`. Bytes sent, or a negative errno. */
  send(n: number, fd: number): number {
    const name = new TextEncoder().encode(JSON.stringify({ child: n }))
    if (++this.#sent % 64 === 0) this.clear()
    const sent = fds.sendFds(this.#in, [fd], name)
    if (sent !== -EAGAIN) return sent
    this.clear()
    return fds.sendFds(this.#in, [fd], name)
  }

  /**
   * Takes the descriptors of children that are no more out of the park. Each one that stays is sent anew before it is
   * taken from the front, so that at no time it is held by us alone.
   */
  clear(): void {
    const parkIn = this.#in
    const parkOut = this.#out
    const mark = new TextEncoder().encode(JSON.stringify({ mark: ++this.#marks }))
    let marked = fds.sendFds(parkIn, [], mark) > 0
    for (let turns = 0; turns < 100_000; turns++) {
      const seen = fds.recvFds(parkOut, true)
      if (seen === undefined) return
      const [fd] = seen.fds
      const text = new TextDecoder().decode(seen.payload)
      const stays = fd !== undefined && (!text.includes('child') || uffd.alive(fd))
      const sent = stays ? fds.sendFds(parkIn, [fd], seen.payload) : 0
      for (const one of fds.recvFds(parkOut)?.fds ?? []) fds.close(one)
      // No room: now there is some.
      if (sent < 0) fds.sendFds(parkIn, [fd as number], seen.payload)
      if (fd !== undefined) fds.close(fd)
      else if (marked && text === new TextDecoder().decode(mark)) return
      if (!marked) marked = fds.sendFds(parkIn, [], mark) > 0
    }
  }
}

/**
 * What a predecessor parked; `out` and `back` are the two ends of the park. Each message is sent anew before it is taken
 * from the front, so that at no time a descriptor is held by us alone; a mark tells where the new ones begin. Before it
 * a message can stand twice, and marks of others can stand anywhere: their senders died in the middle of this.
 */
export function emptyPark(out: number, back: number): Kept {
  const kept: Kept = { children: [], backings: new Map() }
  const seen = new Set<string>()
  const mark = JSON.stringify({ mark: `${process.pid} ${process.hrtime.bigint()}` })
  const marked = fds.sendFds(back, [], new TextEncoder().encode(mark))
  if (marked < 0)
    throw new PagerError('adopt', `The park in the target has no room for a mark (${errnoName(marked)})`)
  for (;;) {
    const message = fds.recvFds(out, true)
    if (message === undefined) break
    const [fd] = message.fds
    const text = new TextDecoder().decode(message.payload)
    const what = JSON.parse(text) as { child?: number; backing?: number; mark?: string }
    const stays = fd !== undefined && !seen.has(text) && (what.child === undefined || uffd.alive(fd))
    const sent = stays ? fds.sendFds(back, [fd], message.payload) : 0
    for (const one of fds.recvFds(out)?.fds ?? []) fds.close(one)
    if (text === mark) break
    if (fd === undefined) continue
    // No room: now there is some.
    if (sent < 0) fds.sendFds(back, [fd], message.payload)
    if (seen.has(text)) {
      fds.close(fd)
      continue
    }
    seen.add(text)
    if (what.backing !== undefined) kept.backings.set(what.backing, fd)
    else if (what.child !== undefined) {
      if (uffd.alive(fd)) kept.children.push({ fd, n: what.child })
      else fds.close(fd)
    }
  }
  return kept
}
