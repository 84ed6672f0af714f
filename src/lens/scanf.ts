/**
 * Text as an array of C structs: the records that a format of scanf reads, one after another, to the end.
 *
 *   scanf?format=%25d%3D%25f%3B%0A&i32=key&f32=value        { int key; float value; }
 *
 * The values are those of `while (fscanf(file, format, …) == fields)` with glibc: white space, literals, widths, %*, sets. Where that
 * loop would stop before the end of the text, there is an error that says at which record and byte; so is a text that is too long
 * for its char array. Padding is zero.
 *
 * `put` writes the text of the fields that changed, and reads the record again to see that it means what was put.
 */
import type { Backing } from '../backing/backing.ts'
import { type RecordKernel, recordKernels } from '../kernels/records.ts'
import { elementBytes, type RecordField, type RecordLayout, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { exactSingle, hexFloat } from './exact-float.ts'
import { ticker } from './indexed.ts'
import { applyEdits, type Edit, type IndexStore, type Lens } from './lens.ts'
import { RowIndex } from './row-index.ts'
import { type ScanfFields, scanfFormat, type ScanfType } from './scanf-format.ts'

const VERSION = 1

export interface ScanfOptions {
  readonly format: string
  readonly fields: ScanfFields
  readonly packed?: boolean
}

export function scanfLens({ format, fields, packed = false }: ScanfOptions): TypedLens<RecordLayout> {
  const parameters = new URLSearchParams({ format, ...(packed ? { packed: 'true' } : {}) })
  for (const [field, type] of Object.entries(fields)) parameters.append('field', `${type} ${field}`)
  const name = `scanf?${parameters}`
  const { program, layout, steps } = scanfFormat('scanf', format, fields, packed)
  const indexes = new WeakMap<Backing, RowIndex<RecordKernel>>()
  const width = layout.bytes

  function using<R>(action: (kernel: RecordKernel) => R): R {
    const kernel = recordKernels.take()
    try {
      kernel.want(program)
      return action(kernel)
    } finally {
      recordKernels.give(kernel)
    }
  }

  function of(backing: Backing, store?: IndexStore): RowIndex<RecordKernel> {
    let index = indexes.get(backing)
    if (!index) {
      const saved = store?.find({ identity: backing.identity, lens: name, version: VERSION })
      if (saved) {
        const bytes = new Uint8Array(saved.size)
        saved.read(0, bytes)
        saved.close()
        index = RowIndex.restore(0, bytes)
      }
      index ??= new RowIndex(0)
      indexes.set(backing, index)
    }
    return index
  }

  function reach(backing: Backing, index: RowIndex<RecordKernel>, rows: number, tick?: () => void): void {
    if (!index.complete && index.rows < rows)
      using(kernel => index.reach(kernel, backing, rows, { problem, ...(tick ? { tick } : {}) }))
  }

  function problem(kernel: RecordKernel, row: number, offset: number): LensError {
    const at = kernel.end === 'mismatch' ? offset - kernel.position + kernel.stopped : offset
    return new LensError(
      'corrupt',
      'scanf',
      `record ${row} is not as the format ${JSON.stringify(format)} says`,
      at,
    )
  }

  function mend(kernel: RecordKernel): void {
    const view = new DataView(kernel.output.buffer, kernel.output.byteOffset)
    for (const { at, text, single } of kernel.hards()) {
      if (/^[-+]?0x/i.test(text)) {
        if (single) view.setFloat32(at, hexFloat(text), true)
        else view.setFloat64(at, hexFloat(text), true)
      } else if (single) view.setFloat32(at, exactSingle(text), true)
      else view.setFloat64(at, Number(text), true)
    }
  }

  function extent(backing: Backing, at: number, most: number): number {
    const index = of(backing)
    reach(backing, index, Math.ceil((at + most) / width))
    return Math.max(0, Math.min(most, index.rows * width - at))
  }

  function size(backing: Backing): number {
    const index = of(backing)
    reach(backing, index, Number.POSITIVE_INFINITY)
    return index.rows * width
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', 'scanf', `invalid position ${at}`)
    const bytes = extent(backing, at, out.length)
    if (bytes < out.length) out.fill(0, bytes)
    if (bytes === 0) return
    const first = Math.floor(at / width)
    const count = Math.ceil((at + bytes) / width) - first
    let skip = at - first * width
    let done = 0
    using(kernel =>
      of(backing).walk(
        kernel,
        backing,
        first,
        count,
        () => undefined,
        rows => {
          mend(kernel)
          const part = Math.min(bytes - done, rows * width - skip)
          out.set(kernel.output.subarray(skip, skip + part), done)
          done += part
          skip = 0
        },
      ),
    )
  }

  /** Where in the text of a record that of a field is. */
  function place(
    kernel: RecordKernel,
    length: number,
    field: number,
  ): { readonly from: number; readonly to: number } {
    const step = steps[field] ?? 0
    const reach = (count: number): number => {
      if (count === 0) return 0
      kernel.want(program, count)
      kernel.rows(0, length, length, 1, true)
      return kernel.position
    }
    const operation = program.steps[step]?.operation
    let from = reach(step)
    const to = reach(step + 1)
    if (operation !== 'bytes' && operation !== 'set')
      while (from < to && /\s/.test(String.fromCharCode(kernel.input[from] ?? 0))) from++
    return { from, to }
  }

  function textOf(bytes: Uint8Array, field: number, room: number): Uint8Array {
    const { type, offset, count } = layout.fields[field] as RecordField
    const {
      operation,
      argument,
      width: limited,
    } = program.steps[steps[field] ?? 0] ?? { operation: 'space', argument: 0, width: 0 }
    const end = offset + elementBytes[type] * (count ?? 1)
    if (operation === 'bytes') return bytes.slice(offset, offset + argument)
    if (operation === 'word' || operation === 'set') {
      const zero = bytes.indexOf(0, offset)
      return bytes.slice(offset, zero < 0 ? end : Math.min(zero, end))
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const text = written(view, type, offset, operation === 'integer' ? argument : 10)
    // Zeros before a number change nothing, unless the prefix says the base.
    const sign = /^-?/.exec(text)?.[0] ?? ''
    const digits = text.slice(sign.length)
    const zeros = argument !== 0 || operation === 'float'
    const padded =
      zeros && /^[0-9a-f]/.test(digits) && digits !== 'inf' && digits !== 'nan'
        ? sign + digits.padStart(room - sign.length, '0')
        : limited === 0
          ? text.padStart(room)
          : text
    return new Uint8Array(Buffer.from(padded, 'latin1'))
  }

  /** Where a record begins. */
  function offsetOf(kernel: RecordKernel, backing: Backing, row: number): number {
    const index = of(backing)
    const nothing = (): void => undefined
    kernel.want(program)
    if (index.near(row).row !== row) index.walk(kernel, backing, row - 1, 1, nothing, nothing)
    return index.near(row).offset
  }

  function edited(backing: Backing, row: number, before: Uint8Array, after: Uint8Array): Edit[] {
    return using(kernel => {
      const offset = offsetOf(kernel, backing, row)
      const text = new Uint8Array(offsetOf(kernel, backing, row + 1) - offset)
      backing.read(offset, text)
      kernel.input.set(text)
      const parts: Edit[] = []
      for (const [i, { type, offset: at, count }] of layout.fields.entries()) {
        const end = at + elementBytes[type] * (count ?? 1)
        if (Buffer.compare(before.subarray(at, end), after.subarray(at, end)) === 0) continue
        const { from, to } = place(kernel, text.length, i)
        const bytes = textOf(after, i, to - from)
        parts.push({ offset: from, bytes, ...(bytes.length === to - from ? {} : { removes: to - from }) })
      }
      parts.sort((a, b) => a.offset - b.offset)
      // The record with the new texts must be read as what was put.
      const whole = applyEdits(text, parts)
      kernel.input.set(whole)
      kernel.want(program)
      const n = kernel.rows(0, whole.length, whole.length, 1, true)
      mend(kernel)
      if (
        n !== 1 ||
        kernel.position !== whole.length ||
        Buffer.compare(kernel.output.subarray(0, width), after) !== 0
      )
        throw new LensError(
          'unsupported',
          'scanf',
          `record ${row + 1} can't be written so that the format reads it as what was put`,
          offset,
        )
      return parts.map(part => ({ ...part, offset: offset + part.offset }))
    })
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    if (at < 0 || extent(backing, at, bytes.length) < bytes.length)
      throw new RangeError(
        `Invalid put of ${bytes.length} bytes at ${at} in memory of ${size(backing)} bytes`,
      )
    if (bytes.length === 0) return []
    const first = Math.floor(at / width)
    const count = Math.ceil((at + bytes.length) / width) - first
    const before = new Uint8Array(count * width)
    get(backing, first * width, before)
    const after = before.slice()
    after.set(bytes, at - first * width)
    const edits: Edit[] = []
    for (let i = 0; i < count; i++) {
      const was = before.subarray(i * width, (i + 1) * width)
      const is = after.subarray(i * width, (i + 1) * width)
      if (Buffer.compare(was, is) !== 0) edits.push(...edited(backing, first + i, was, is))
    }
    return edits
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    const index = of(backing, store)
    if (index.complete) return
    reach(backing, index, Number.POSITIVE_INFINITY, ticker(pause))
    const maker = store.make({ identity: backing.identity, lens: name, version: VERSION })
    maker.append(index.saved())
    maker.commit().close()
  }

  return { name, element: layout, size, extent, get, put, prepare }
}

function written(view: DataView, type: RecordField['type'], at: number, base: number): string {
  switch (type) {
    case 'f64':
      return named(view.getFloat64(at, true))
    case 'f32': {
      const value = view.getFloat32(at, true)
      for (let digits = 1; digits <= 9; digits++)
        if (Object.is(Math.fround(Number(value.toPrecision(digits))), value))
          return named(Number(value.toPrecision(digits)))
      return named(value)
    }
    default: {
      const bits = elementBytes[type] * 8
      let value = 0n
      for (let i = bits / 8 - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(at + i))
      return (type.startsWith('i') ? BigInt.asIntN(bits, value) : value).toString(base || 10)
    }
  }
}

function named(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf'
  return Object.is(value, -0) ? '-0' : String(value)
}

export function scanfNamed(name: string): Lens | undefined {
  if (!name.startsWith('scanf?')) return undefined
  const parameters = new URLSearchParams(name.slice(6))
  const fields: Record<string, ScanfType> = {}
  for (const field of parameters.getAll('field')) {
    const blank = field.indexOf(' ')
    fields[field.slice(blank + 1)] = field.slice(0, blank) as ScanfType
  }
  return scanfLens({
    format: parameters.get('format') ?? '',
    fields,
    packed: parameters.get('packed') === 'true',
  })
}
