// Where a guest goes on from: programs read several arrays at once, each in order.

/** Pages behind a faulting one that the same replay makes come too: they cost little beside it. More when faults go on in one direction. */
export const leastAhead = 8
export const mostAhead = 64
const most = 8

export interface Stream {
  /** The last page that came back for it. */
  last: number
  /** How many pages behind the next one are to come with it. */
  ahead: number
}

/** The last places at which pages came back. */
export class Streams {
  /** The one that was used last is the last. */
  readonly #streams: Stream[] = []

  /** The stream that `page` continues, or a new one. */
  of(page: number): Stream {
    const i = this.#streams.findIndex(({ last, ahead }) => page > last && page <= last + 1 + ahead)
    const [found] = i < 0 ? [] : this.#streams.splice(i, 1)
    const stream = found ?? { last: page, ahead: leastAhead / 2 }
    stream.last = page
    stream.ahead = Math.min(mostAhead, stream.ahead * 2)
    if (this.#streams.push(stream) > most) this.#streams.shift()
    return stream
  }
}
