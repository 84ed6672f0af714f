/**
 * CLOCK (Corbató 1968): the frames in a ring, a hand, and a reference bit for each page. The hand clears set bits as it passes and takes
 * the first page whose bit is clear. `clock` loads a page with its bit clear, as simulators do (FIFO with reinsertion);
 * `second-chance` with its bit set, as a processor does that restarts the faulting instruction.
 */
import { grown } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

export class Clock implements Policy {
  readonly name: string
  readonly exactOrder = false
  readonly frames: number
  readonly #loaded: number
  /** The page in each frame, or -1; `#used` frames have ever been used. */
  readonly #ring: Int32Array
  #used = 0
  #hand = 0
  /** Of each page: its frame + 1, or 0; its reference bit. */
  #frame = new Int32Array(1024)
  #bit = new Uint8Array(1024)
  /** Frames that `forget` and `evict` left empty. */
  readonly #free: number[] = []

  constructor(frames: number, loaded: 0 | 1 = 0) {
    this.frames = frames
    this.#loaded = loaded
    this.name = loaded === 0 ? 'clock' : 'second-chance'
    this.#ring = new Int32Array(frames).fill(-1)
  }
  get residents(): number {
    return this.#used - this.#free.length
  }
  resident(page: number): boolean {
    return page < this.#frame.length && this.#frame[page] !== 0
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    this.#bit[page] = 1
    return HIT
  }
  touch(page: number): void {
    this.#bit[page] = 1
  }

  admit(page: number): number {
    if (page >= this.#frame.length) {
      this.#frame = grown(this.#frame, page)
      this.#bit = grown(this.#bit, page)
    }
    let frame: number
    let victim: number = NONE
    if (this.#free.length > 0) frame = this.#free.pop() as number
    else if (this.#used < this.frames) frame = this.#used++
    else {
      frame = this.#sweep()
      victim = this.#ring[frame] as number
      this.#frame[victim] = 0
    }
    this.#ring[frame] = page
    this.#frame[page] = frame + 1
    this.#bit[page] = this.#loaded
    return victim
  }

  /** The frame of the first page whose bit is clear; the hand stops behind it. There must be a page. */
  #sweep(): number {
    for (;;) {
      const frame = this.#hand
      this.#hand = frame + 1 === this.#used ? 0 : frame + 1
      const page = this.#ring[frame] as number
      if (page < 0) continue
      if (this.#bit[page] === 0) return frame
      this.#bit[page] = 0
    }
  }

  evict(): number {
    if (this.residents === 0) return NONE
    const victim = this.#ring[this.#sweep()] as number
    this.forget(victim)
    return victim
  }

  forget(page: number): void {
    if (!this.resident(page)) return
    const frame = (this.#frame[page] as number) - 1
    this.#ring[frame] = -1
    this.#frame[page] = 0
    this.#free.push(frame)
  }
  queues(): Queue[] {
    const pages = [...this.#ring.subarray(0, this.#used)]
    const marks = pages.map(page => (page < 0 ? 0 : (this.#bit[page] as number)))
    return [{ name: 'ring', pages, ghost: false, marks, hands: { hand: this.#hand } }]
  }
}
