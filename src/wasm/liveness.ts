// Which locals are still needed behind an instruction: liveness, as compilers compute it.
//
// One pass over the body makes basic blocks: which locals each reads before it writes them, which it writes, where it goes on. Going over the blocks from
// the last to the first until nothing changes gives what is live at their ends; one more pass, backwards, gives it at the places asked for. A
// function that catches exceptions may go from any call to a handler: there all locals count as live.
import type { Cursor } from './instructions.ts'
import { OP } from './opcode-table.ts'

const opens: ReadonlySet<number> = new Set([OP.block, OP.loop, OP.if, OP.try, OP.try_table])
const ends: ReadonlySet<number> = new Set([
  OP.return,
  OP.unreachable,
  OP.return_call,
  OP.return_call_indirect,
  OP.throw,
  OP.rethrow,
  OP.throw_ref,
])

interface Block {
  readonly successors: number[]
  /** Its events, [from, to). */
  from: number
  to: number
}

/** An open block of the program: where branches to it go, and where its `else` begins if it may have one. */
interface Open {
  readonly loop: boolean
  readonly target: number
  otherwise: number
}

/** Kinds of events, in the low bits; above is the local, or the number of the place. */
const READ = 0
const WRITE = 1
const PLACE = 2

export class Liveness {
  #events = new Uint32Array(1024)
  #count = 0
  #places = 0
  #catches = false
  #blocks: Block[] = []
  #order: number[] = []
  #words = 0
  #out = new Uint32Array(0)

  /** The locals (below `locals`) that are live behind each place that `wanted` says yes to, in the order of the body; ascending. */
  analyse(cursor: Cursor, locals: number, wanted: (i: Cursor) => boolean): number[][] {
    this.#read(cursor, wanted)
    if (this.#catches) {
      const all = Array.from({ length: locals }, (_, n) => n)
      return Array.from({ length: this.#places }, () => all)
    }
    this.#words = (locals + 31) >>> 5
    this.#solve()
    return this.#answer()
  }

  #note(kind: number, what: number): void {
    if (this.#count === this.#events.length) {
      const grown = new Uint32Array(this.#count * 2)
      grown.set(this.#events)
      this.#events = grown
    }
    this.#events[this.#count++] = (what << 2) | kind
  }

  #add(): number {
    return this.#blocks.push({ successors: [], from: 0, to: 0 }) - 1
  }

  #read(cursor: Cursor, wanted: (i: Cursor) => boolean): void {
    this.#count = 0
    this.#places = 0
    this.#catches = false
    this.#blocks = []
    const exit = this.#add()
    const open: Open[] = [{ loop: false, target: exit, otherwise: -1 }]
    let now = this.#add()
    this.#order = [now]
    const go = (to: number): void => void (this.#blocks[now] as Block).successors.push(to)
    const begin = (block: number): void => {
      ;(this.#blocks[now] as Block).to = this.#count
      ;(this.#blocks[block] as Block).from = this.#count
      now = block
      this.#order.push(block)
    }
    const target = (label: number): number => (open[open.length - 1 - label] as Open).target
    while (cursor.next()) {
      const { op } = cursor
      if (wanted(cursor)) this.#note(PLACE, this.#places++)
      if (op === OP['local.get']) this.#note(READ, cursor.index)
      else if (op === OP['local.set'] || op === OP['local.tee']) this.#note(WRITE, cursor.index)
      else if (opens.has(op)) {
        if (op === OP.try || op === OP.try_table) this.#catches = true
        const behind = this.#add()
        const frame: Open = { loop: op === OP.loop, target: behind, otherwise: -1 }
        if (op === OP.if) {
          frame.otherwise = this.#add()
          go(frame.otherwise)
        }
        if (op === OP.if || op === OP.loop) {
          // A loop's label is its begin.
          const body = op === OP.loop ? behind : this.#add()
          go(body)
          begin(body)
        }
        open.push(frame)
      } else if (op === OP.else) {
        const frame = open.at(-1) as Open
        go(frame.target)
        begin(frame.otherwise)
        frame.otherwise = -1
      } else if (op === OP.end || op === OP.delegate) {
        const frame = open.pop() as Open
        // At the end of a loop the program only goes on.
        if (frame.loop) continue
        go(frame.target)
        if (frame.otherwise >= 0) {
          begin(frame.otherwise)
          go(frame.target)
        }
        begin(frame.target)
      } else if (op === OP.br || op === OP.br_if) {
        go(target(cursor.index))
        const next = this.#add()
        if (op === OP.br_if) go(next)
        begin(next)
      } else if (op === OP.br_table) {
        for (const label of cursor.labels()) go(target(label))
        begin(this.#add())
      } else if (ends.has(op)) begin(this.#add())
    }
    ;(this.#blocks[now] as Block).to = this.#count
  }

  // What is live at the end of each block: the bits of block n are words of #out from n * #words on.
  #solve(): void {
    const words = this.#words
    const blocks = this.#blocks
    const size = blocks.length * words
    const reads = new Uint32Array(size)
    const writes = new Uint32Array(size)
    const live = new Uint32Array(size)
    this.#out = new Uint32Array(size)
    for (const [n, { from, to }] of blocks.entries())
      for (let e = from; e < to; e++) {
        const event = this.#events[e] as number
        if ((event & 3) === PLACE) continue
        const at = n * words + (event >>> 7)
        const bit = 1 << ((event >>> 2) & 31)
        if ((event & 3) === WRITE) writes[at] = (writes[at] as number) | bit
        else if (((writes[at] as number) & bit) === 0) reads[at] = (reads[at] as number) | bit
      }
    for (let changed = true; changed; ) {
      changed = false
      for (let o = this.#order.length - 1; o >= 0; o--) {
        const n = this.#order[o] as number
        const { successors } = blocks[n] as Block
        for (let w = 0; w < words; w++) {
          let after = 0
          for (const next of successors) after |= live[next * words + w] as number
          const at = n * words + w
          this.#out[at] = after
          const before = ((reads[at] as number) | (after & ~(writes[at] as number))) >>> 0
          if (before === live[at]) continue
          live[at] = before
          changed = true
        }
      }
    }
  }

  #answer(): number[][] {
    const words = this.#words
    const found: number[][] = Array.from({ length: this.#places }, () => [])
    const live = new Uint32Array(words)
    for (const [n, { from, to }] of this.#blocks.entries()) {
      live.set(this.#out.subarray(n * words, (n + 1) * words))
      for (let e = to - 1; e >= from; e--) {
        const event = this.#events[e] as number
        const what = event >>> 2
        const at = what >>> 5
        const bit = 1 << (what & 31)
        if ((event & 3) === READ) live[at] = (live[at] as number) | bit
        else if ((event & 3) === WRITE) live[at] = (live[at] as number) & ~bit
        else found[what] = localsOf(live)
      }
    }
    return found
  }
}

function localsOf(live: Uint32Array): number[] {
  const locals: number[] = []
  for (let w = 0; w < live.length; w++)
    for (let bits = live[w] as number; bits !== 0; bits &= bits - 1)
      locals.push(w * 32 + 31 - Math.clz32(bits & -bits))
  return locals
}
