/**
 * Formats of scanf (C11 7.21.6.2, as glibc reads them) with the fields of a C struct that take what is read.
 *
 * The fields' types decide what a conversion makes; length modifiers (l, h, …) are passed over. Layout is C's on 64-bit Linux:
 * each field at a multiple of its size, the struct padded to its largest; `packed` leaves nothing between.
 */
import { MOST_RECORD, type RecordProgram, type RecordStep } from '../kernels/records.ts'
import { type ElementType, elementBytes, type RecordField, type RecordLayout } from './element.ts'
import { LensError } from './errors.ts'

/** A number, or characters: 'char[16]' is 15 of them and the zero behind. */
export type ScanfType = ElementType | 'char' | `char[${number}]`
/** Fields in the order of the conversions. */
export type ScanfFields = Readonly<Record<string, ScanfType>>

export interface ScanfFormat {
  readonly program: RecordProgram
  readonly layout: RecordLayout
  /** For each field, its step. */
  readonly steps: readonly number[]
}

const isElement = (type: string): type is ElementType => Object.hasOwn(elementBytes, type)

function fieldOf(lens: string, name: string, type: ScanfType): Omit<RecordField, 'offset'> {
  if (isElement(type)) return { name, type }
  if (type === 'char') return { name, type: 'i8' }
  const count = Number(/^char\[([1-9][0-9]{0,4})\]$/.exec(type)?.[1])
  if (!(count <= MOST_RECORD))
    throw new LensError('range', lens, `the field ${name} is of type ${type}, which is none`)
  return { name, type: 'u8', count }
}

function layOut(fields: readonly Omit<RecordField, 'offset'>[], packed: boolean): RecordLayout {
  let end = 0
  let widest = 1
  const placed = fields.map(field => {
    const width = elementBytes[field.type]
    const align = packed ? 1 : width
    const offset = Math.ceil(end / align) * align
    widest = Math.max(widest, align)
    end = offset + width * (field.count ?? 1)
    return { ...field, offset }
  })
  return { bytes: Math.ceil(end / widest) * widest, fields: placed }
}

const CONVERSION = /^%(\*?)([0-9]*)(?:hh|h|ll|l|j|z|t|q|L)?([diouxXpaAeEfFgGscn%]|\[\^?\]?[^\]]*\])/

/** The bytes of '[a-z]' or '[^,]'. */
function setOf(text: string): Uint8Array {
  const set = new Uint8Array(32)
  const inverted = text[1] === '^'
  const inside = Buffer.from(text.slice(inverted ? 2 : 1, -1), 'utf8')
  for (let i = 0; i < inside.length; i++) {
    const from = inside[i] ?? 0
    const isRange = inside[i + 1] === 45 && i + 2 < inside.length
    const to = isRange ? (inside[i + 2] ?? 0) : from
    for (let byte = from; byte <= to; byte++) set[byte >> 3] = (set[byte >> 3] ?? 0) | (1 << (byte & 7))
    if (isRange) i += 2
  }
  return inverted ? set.map(byte => ~byte) : set
}

const BASES: Readonly<Record<string, number>> = { d: 10, u: 10, i: 0, o: 8, x: 16, X: 16, p: 16 }

/** LensError 'range' for a format that makes no sense, or does not go with the fields. */
export function scanfFormat(lens: string, format: string, types: ScanfFields, packed: boolean): ScanfFormat {
  const fields = Object.entries(types).map(([name, type]) => fieldOf(lens, name, type))
  const layout = layOut(fields, packed)
  const program: RecordStep[] = []
  const steps: number[] = []
  const refuse = (message: string): never => {
    throw new LensError('range', lens, message)
  }
  if (layout.bytes > MOST_RECORD) refuse(`a record has ${layout.bytes} bytes, more than ${MOST_RECORD}`)
  let used = 0
  for (let at = 0; at < format.length; ) {
    const rest = format.slice(at)
    const blank = /^\s+/.exec(rest)?.[0]
    if (blank) {
      program.push({ operation: 'space', width: 0, offset: 0, argument: 0 })
      at += blank.length
      continue
    }
    if (!rest.startsWith('%')) {
      const character = String.fromCodePoint(rest.codePointAt(0) ?? 0)
      for (const byte of Buffer.from(character))
        program.push({ operation: 'byte', width: 0, offset: 0, argument: byte })
      at += character.length
      continue
    }
    const match =
      CONVERSION.exec(rest) ?? refuse(`${JSON.stringify(rest.slice(0, 8))} is no conversion of scanf`)
    const [whole, star, digits = '', letter = ''] = match
    at += whole.length
    if (letter === '%') {
      program.push(
        { operation: 'space', width: 0, offset: 0, argument: 0 },
        { operation: 'byte', width: 0, offset: 0, argument: 37 },
      )
      continue
    }
    const width = Number(digits)
    if (width > 65_535) refuse(`${whole} is too wide`)
    const field = star === '*' ? undefined : layout.fields[used]
    if (star !== '*' && !field) refuse(`the format has a conversion ${whole} for which there is no field`)
    if (field) {
      steps.push(program.length)
      used++
    }
    program.push(conversion(whole, letter, width, field, refuse))
  }
  if (used < fields.length) refuse(`the format has no conversion for the field ${fields[used]?.name}`)
  if (used === 0) refuse('the format reads no field')
  return { program: { steps: program, bytes: layout.bytes }, layout, steps }
}

function conversion(
  whole: string,
  letter: string,
  width: number,
  field: RecordField | undefined,
  refuse: (message: string) => never,
): RecordStep {
  const offset = field?.offset ?? 0
  const typed = field ? { type: field.type } : {}
  const mismatch = (): never =>
    refuse(
      `${whole} can't be read into the field ${field?.name}, which is ${field?.count ? `char[${field.count}]` : field?.type}`,
    )
  const floats = field && field.type.startsWith('f')
  const base = BASES[letter]
  if (base !== undefined || letter === 'n') {
    if (field && (floats || field.count !== undefined)) mismatch()
    const operation = letter === 'n' ? 'count' : 'integer'
    return { operation, ...typed, unsigned: /[ouxXp]/.test(letter), width, offset, argument: base ?? 0 }
  }
  if (/[aefg]/i.test(letter) && letter !== 's' && letter !== 'c' && !letter.startsWith('[')) {
    if (field && !floats) mismatch()
    return { operation: 'float', ...typed, width, offset, argument: 0 }
  }
  if (field && (floats || elementBytes[field.type] !== 1)) mismatch()
  const room = field?.count ?? 1
  if (letter === 'c') {
    if (field && (width || 1) > room)
      refuse(`${whole} reads ${width || 1} characters into ${room} of ${field.name}`)
    return { operation: 'bytes', ...typed, width: 0, offset, argument: width || 1 }
  }
  if (field?.count === undefined && field) mismatch()
  if (field && width >= room) refuse(`${whole} needs room for a zero: ${field.name} holds ${room} characters`)
  const operation = letter === 's' ? 'word' : 'set'
  return {
    operation,
    ...typed,
    width,
    offset,
    argument: room,
    ...(operation === 'set' ? { set: setOf(letter) } : {}),
  }
}
