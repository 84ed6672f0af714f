/** FlatBuffers, as far as reading Arrow's metadata needs them: tables, vectors, strings, with every bound checked. */

/** A table of a buffer. Fields are numbered as in the schema; one that is not there has the value that is asked with it. RangeError beyond the buffer. */
export class Table {
  readonly #view: DataView
  readonly #at: number

  constructor(view: DataView, at: number) {
    this.#view = view
    this.#at = at
  }

  static root(bytes: Uint8Array, at = 0): Table {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    return new Table(view, at + view.getUint32(at, true))
  }

  /** Where a field is; 0 if it is not there. */
  #field(id: number): number {
    const table = this.#at - this.#view.getInt32(this.#at, true)
    const slot = 4 + id * 2
    if (slot >= this.#view.getUint16(table, true)) return 0
    const offset = this.#view.getUint16(table + slot, true)
    return offset === 0 ? 0 : this.#at + offset
  }

  u8(id: number, otherwise = 0): number {
    const at = this.#field(id)
    return at === 0 ? otherwise : this.#view.getUint8(at)
  }

  i16(id: number, otherwise = 0): number {
    const at = this.#field(id)
    return at === 0 ? otherwise : this.#view.getInt16(at, true)
  }

  i32(id: number, otherwise = 0): number {
    const at = this.#field(id)
    return at === 0 ? otherwise : this.#view.getInt32(at, true)
  }

  i64(id: number): number {
    const at = this.#field(id)
    return at === 0 ? 0 : Number(this.#view.getBigInt64(at, true))
  }

  table(id: number): Table | undefined {
    const at = this.#field(id)
    return at === 0 ? undefined : new Table(this.#view, at + this.#view.getUint32(at, true))
  }

  text(id: number): string {
    const { at, length } = this.#vector(id)
    return Buffer.from(this.#view.buffer, this.#view.byteOffset + at, length).toString('utf8')
  }

  tables(id: number): Table[] {
    const { at, length } = this.#vector(id)
    return Array.from(
      { length },
      (_, i) => new Table(this.#view, at + 4 * i + this.#view.getUint32(at + 4 * i, true)),
    )
  }

  /** 64-bit numbers of a vector of structs; `words` of them each. */
  structs(id: number, words: number): number[] {
    const { at, length } = this.#vector(id)
    return Array.from({ length: length * words }, (_, i) => Number(this.#view.getBigInt64(at + 8 * i, true)))
  }

  #vector(id: number): { readonly at: number; readonly length: number } {
    const field = this.#field(id)
    if (field === 0) return { at: 0, length: 0 }
    const at = field + this.#view.getUint32(field, true)
    const length = this.#view.getUint32(at, true)
    if (at + 4 + length > this.#view.byteLength) throw new RangeError('a vector goes beyond its buffer')
    return { at: at + 4, length }
  }
}
