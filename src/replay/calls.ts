// What the host answered in an epoch, as bytes: programs make a hundred thousand calls, and an object for each would take more memory than
// the pages that they help to forget. For each call
//
//   its name's number · 0, or 1 and its result · how many writes, and for each
//     address · 2 · length           and then the bytes
//             · 2 · length + 1       and then a source and an offset in it
import { callKinds } from '../guest/wasi.ts'
import { Reader, Writer } from '../wasm/bytes.ts'
import type { HostCall, HostWrite } from './protocol.ts'

const names: readonly string[] = [...callKinds.keys()]
const numbers: ReadonlyMap<string, number> = new Map(names.map((name, i) => [name, i]))

export class CallLog {
  readonly #w = new Writer(4096)

  /** A call of a name that is not WASI's is never replayed, and has no name here. */
  add({ name, result, writes }: HostCall): void {
    const w = this.#w
    w.u32(numbers.get(name) ?? names.length)
    w.byte(result === undefined ? 0 : 1)
    if (result !== undefined) w.s32(result)
    w.u32(writes.length)
    for (const write of writes) {
      w.u32(write.at)
      if ('bytes' in write) {
        w.u32(2 * write.bytes.length)
        w.bytes(write.bytes)
      } else {
        w.u64(2 * write.length + 1)
        w.u32(write.source)
        w.u64(write.offset)
      }
    }
  }

  /** All since the last time. */
  take(): Uint8Array {
    const bytes = this.#w.take()
    this.#w.length = 0
    return bytes
  }
}

/** The calls of a log, in their order. */
export class CallReader {
  readonly #r: Reader

  constructor(log: Uint8Array) {
    this.#r = new Reader(log)
  }

  next(): HostCall | undefined {
    const r = this.#r
    if (r.at === r.end) return undefined
    const name = names[r.u32('name')] ?? ''
    const result = r.byte('result') === 0 ? undefined : signed(r)
    const writes: HostWrite[] = []
    for (let left = r.u32('writes'); left > 0; left--) {
      const at = r.u32('address')
      const word = r.u64('length')
      if (word % 2 === 0) writes.push({ at, bytes: r.view(word / 2, 'bytes') })
      else writes.push({ at, length: (word - 1) / 2, source: r.u32('source'), offset: r.u64('offset') })
    }
    return { name, result, writes }
  }
}

function signed(r: Reader): number {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = r.byte('result')
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) return shift < 28 && (byte & 0x40) !== 0 ? value | (-1 << (shift + 7)) : value
  }
}
