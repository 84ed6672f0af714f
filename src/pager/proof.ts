// From guesses to clean pages: registers the mappings that hold them, and has each proved.
import type { Backing } from '../backing/backing.ts'
import { type Mapping, readMaps } from '../process/maps.ts'
import { blockBytes, type Journal, pageBytes, state } from './journal.ts'
import type { ServerLink } from './server-link.ts'
import { type Prices, priced } from './prices.ts'
import { type Guess, Verifier } from './verify.ts'

/** Reads of each new backing, at random, by which its price is first known. */
const trials = 4

export class Proof {
  readonly #pid: number
  readonly #uffd: number
  readonly #journal: Journal
  readonly #server: ServerLink
  readonly #views: ReadonlyMap<number, Backing>
  readonly #settled: (at: number) => boolean
  readonly #prices: Prices
  readonly #registered = new Set<string>()

  /** `settled`: whether nothing has been removed around an address for long enough that it must be gone by now. */
  constructor(
    pid: number,
    descriptor: number,
    journal: Journal,
    server: ServerLink,
    views: ReadonlyMap<number, Backing>,
    settled: (at: number) => boolean,
    prices: Prices,
  ) {
    this.#pid = pid
    this.#uffd = descriptor
    this.#journal = journal
    this.#server = server
    this.#views = views
    this.#settled = settled
    this.#prices = prices
  }

  /** Registers the whole mappings that hold a guess. */
  async register(guesses: readonly Guess[]): Promise<void> {
    // Block 0 of the journal means none.
    const mappings = readMaps(this.#pid).filter(
      m => m.writable && !m.shared && m.inode === 0 && m.start >= blockBytes,
    )
    const wanted = new Set<Mapping>()
    let i = 0
    for (const g of [...guesses].sort((a, b) => a.start - b.start)) {
      while (i < mappings.length && (mappings[i] as Mapping).end <= g.start) i++
      const mapping = mappings[i]
      if (mapping !== undefined && mapping.start <= g.start) wanted.add(mapping)
    }
    for (const { start, end } of wanted) {
      const key = `${start}-${end}`
      if (this.#registered.has(key) && this.#journal.stateOf(start) !== state.none) continue
      const result = await this.#server.ask({ kind: 'register', start, end })
      if (result === 0) this.#registered.add(key)
    }
    this.#journal.refresh()
  }

  /** Compares what is guessed with the memory, and has the server note what is equal. `over`: it is of no use any more. */
  async verify(guesses: readonly Guess[], over: () => boolean): Promise<void> {
    const verifier = new Verifier(this.#pid, this.#uffd, this.#journal)
    let rows: number[] = []
    const flush = async (): Promise<void> => {
      if (rows.length === 0) return
      const send = Float64Array.from(rows)
      rows = []
      await this.#server.ask({ kind: 'explain', rows: send })
    }
    try {
      for (const guess of guesses) {
        const view = this.#views.get(guess.backing)
        if (view === undefined) continue
        let since = 0
        verifier.verify(guess, view, this.#settled, (start, pages, offset) => {
          rows.push(start, pages, guess.backing, offset)
          since += pages
        })
        if (since > 4096 || rows.length > 4096) await flush()
        if (over()) return
      }
      await flush()
      this.#appraise(guesses)
    } finally {
      verifier.close()
      this.#journal.refresh()
    }
  }

  // What refills of the backings will cost: a proof reads from start to end, a refill anywhere.
  #appraise(guesses: readonly Guess[]): void {
    const into = new Uint8Array(priced)
    const of = new Map<number, Guess[]>()
    for (const guess of guesses) {
      const known = of.get(guess.backing)
      if (known) known.push(guess)
      else if (!this.#prices.has(guess.backing)) of.set(guess.backing, [guess])
    }
    for (const [backing, all] of of) {
      const view = this.#views.get(backing)
      // The best: what is slow the first time, or while the machine is busy, is not the lens.
      let best = Number.POSITIVE_INFINITY
      for (let i = 0; view !== undefined && i < trials; i++) {
        const guess = all[Math.floor(Math.random() * all.length)]
        if (guess === undefined) continue
        const offset = guess.offset + Math.floor(Math.random() * guess.pages) * pageBytes
        const began = performance.now()
        try {
          view.read(offset, into)
        } catch {
          // It has changed since: nothing of it has been proved, or its lease tells.
          break
        }
        best = Math.min(best, (performance.now() - began) / 1000)
      }
      if (Number.isFinite(best)) this.#prices.appraise(backing, best)
    }
  }
}
