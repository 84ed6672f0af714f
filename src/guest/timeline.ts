// What of a guest's memory was resident, over time: a picture of time by address, in memory of fixed size that two threads see.
//
// Its finest grain is what happens to be worth a look: when all samples are taken, every other one goes and samples come half as often;
// when the memory has grown out of the picture, two cells become one. So a run of a second and one of a day both give 128 to 256
// samples of 64 to 128 cells.
//
//   header   f64: samples, milliseconds between two, pages of a cell
//   samples  f64: milliseconds since the start, pages resident, bytes kept on the side, faults
//   cells    per sample 128 bytes: how much of the cell was resident, 255 is all of it

const mostSamples = 256
const cells = 128
const pageBytes = 4096
const firstEvery = 4
const headerWords = 4
const sampleWords = 4

/** Bytes of a timeline. */
export const timelineBytes: number = 8 * (headerWords + mostSamples * sampleWords) + mostSamples * cells

/** As --json has it. */
export interface TimelineRecord {
  /** Bytes of memory that a cell stands for. */
  readonly cell: number
  /** `ms` since the start; `resident` and `kept` bytes; `faults` so far; `cells`: base64, a byte for each, of 255 as much of it as was resident. */
  readonly samples: readonly {
    readonly ms: number
    readonly resident: number
    readonly kept: number
    readonly faults: number
    readonly cells: string
  }[]
}

/** Adds what is resident to `into`: pages in cell c of `pages` pages each. Returns the highest page of the memory, plus one. */
export type CountCells = (into: Uint32Array, pages: number) => number

export class Timeline {
  readonly shared: SharedArrayBuffer
  readonly #header: Float64Array
  readonly #samples: Float64Array
  readonly #cells: Uint8Array
  readonly #counts = new Uint32Array(cells)
  readonly #began = performance.now()
  #next = 0

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(timelineBytes)) {
    this.shared = shared
    this.#header = new Float64Array(shared, 0, headerWords)
    this.#samples = new Float64Array(shared, 8 * headerWords, mostSamples * sampleWords)
    this.#cells = new Uint8Array(shared, 8 * (headerWords + mostSamples * sampleWords))
  }

  /** Whether it is time for a sample. */
  due(now: number): boolean {
    return now >= this.#next
  }

  /** Takes a sample at `now` (of performance.now()). */
  sample(now: number, resident: number, kept: number, faults: number, count: CountCells): void {
    const header = this.#header
    if (header[0] === 0) {
      header[1] ||= firstEvery
      header[2] ||= 1
    }
    if (header[0] === mostSamples) this.#thin()
    for (;;) {
      this.#counts.fill(0)
      const pages = count(this.#counts, header[2] as number)
      if (pages <= cells * (header[2] as number)) break
      this.#coarsen()
    }
    const at = header[0] as number
    // Memory that is not served yet is in the picture only.
    const seen = this.#counts.reduce((sum, pages) => sum + pages, 0)
    this.#samples.set([now - this.#began, Math.max(resident, seen), kept, faults], at * sampleWords)
    for (let c = 0; c < cells; c++)
      this.#cells[at * cells + c] = Math.round((255 * (this.#counts[c] as number)) / (header[2] as number))
    header[0] = at + 1
    this.#next = now + (header[1] as number)
  }

  // Every other sample stays.
  #thin(): void {
    for (let from = 0, to = 0; from < mostSamples; from += 2, to++) {
      this.#samples.copyWithin(to * sampleWords, from * sampleWords, (from + 1) * sampleWords)
      this.#cells.copyWithin(to * cells, from * cells, (from + 1) * cells)
    }
    this.#header[0] = mostSamples / 2
    this.#header[1] = (this.#header[1] as number) * 2
  }

  // Two cells become one.
  #coarsen(): void {
    const all = this.#cells
    for (let s = 0; s < (this.#header[0] as number); s++) {
      const at = s * cells
      for (let c = 0; c < cells; c++)
        all[at + c] = c < cells / 2 ? ((all[at + 2 * c] as number) + (all[at + 2 * c + 1] as number)) >> 1 : 0
    }
    this.#header[2] = (this.#header[2] as number) * 2
  }

  record(): TimelineRecord {
    const [count = 0, , pages = 1] = this.#header
    return {
      cell: pages * pageBytes,
      samples: Array.from({ length: count }, (_, i) => {
        const [ms = 0, resident = 0, kept = 0, faults = 0] = this.#samples.subarray(i * sampleWords)
        const bytes = Uint8Array.from(this.#cells.subarray(i * cells, (i + 1) * cells))
        return {
          ms: Math.round(ms * 10) / 10,
          resident: resident * pageBytes,
          kept,
          faults,
          cells: Buffer.from(bytes).toString('base64'),
        }
      }),
    }
  }
}

/** Counts the pages of `states` that `there` says yes to, into cells of `pages` pages. The highest page that was ever used, plus one. */
export function countStates(
  states: Uint8Array,
  top: number,
  there: (state: number) => boolean,
  into: Uint32Array,
  pages: number,
): number {
  if (top > into.length * pages) return top
  for (let page = 0; page < top; page++)
    if (there(states[page] as number)) {
      const cell = Math.floor(page / pages)
      into[cell] = (into[cell] as number) + 1
    }
  return top
}
