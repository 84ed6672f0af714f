// DWARF line tables: the file and line of every place in the code.
import { DebugSections, isRemoved, type SectionReader, type UnitTables } from './dwarf-reader.ts'
import type { Module } from './module.ts'

/** `line` and `column` count from 1; column 0: it is not known. */
export interface SourcePlace {
  /** As the compiler was told it; in an included directory with that before it. */
  readonly file: string
  readonly line: number
  readonly column: number
}

/** The line tables of a module. Places in the code are bytes of the decoded module (Cursor.place, Body.place, originAt). */
export class Lines {
  /** Where each row begins, ascending; a row goes up to the next one. File -1: no code of a source file. */
  readonly #places: Float64Array
  readonly #files: Int32Array
  readonly #lines: Uint32Array
  readonly #columns: Uint16Array
  readonly #names: readonly string[]

  constructor(rows: readonly Row[], names: readonly string[]) {
    // The end of one sequence is the start of another: the end comes first. Of other rows at one place the last one counts.
    const sorted = rows.toSorted((a, b) => a.place - b.place || Number(b.file < 0) - Number(a.file < 0))
    this.#places = Float64Array.from(sorted, ({ place }) => place)
    this.#files = Int32Array.from(sorted, ({ file }) => file)
    this.#lines = Uint32Array.from(sorted, ({ line }) => line)
    this.#columns = Uint16Array.from(sorted, ({ column }) => column)
    this.#names = names
  }

  /** How many rows there are; 0 for a module without line tables. */
  get length(): number {
    return this.#places.length
  }

  /** The source of the instruction at a byte of the module; `undefined` where no table says. */
  at(place: number): SourcePlace | undefined {
    let low = 0
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#places[middle] as number) <= place) low = middle + 1
      else high = middle
    }
    if (low === 0) return undefined
    const file = this.#names[this.#files[low - 1] as number]
    const line = this.#lines[low - 1] as number
    return file === undefined || line === 0
      ? undefined
      : { file, line, column: this.#columns[low - 1] as number }
  }
}

interface Row {
  readonly place: number
  readonly file: number
  readonly line: number
  readonly column: number
}

/** The line tables of a module; a table that is broken is read as far as it goes. */
export function readLines(module: Module): Lines {
  const sections = new DebugSections(module)
  const r = sections.reader('line')
  const rows: Row[] = []
  const names: string[] = []
  while (!r.ended) {
    try {
      const program = lineProgram(sections, r)
      const base = names.length
      for (const name of program.files) names.push(name)
      runProgram(r, program, base, rows)
      r.at = program.end
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      break
    }
  }
  return new Lines(rows, names)
}

interface Program {
  readonly end: number
  /** The paths by file number. */
  readonly files: readonly string[]
  readonly firstFile: number
  readonly codeOffset: number
  readonly minimum: number
  readonly lineBase: number
  readonly lineRange: number
  /** The operands of the standard opcodes. */
  readonly lengths: readonly number[]
}

/** The files of a line program of .debug_line, by file number; for the units' own attributes. */
export function programFiles(
  sections: DebugSections,
  at: number,
): { files: readonly string[]; firstFile: number } {
  return lineProgram(sections, sections.reader('line', at))
}

function lineProgram(sections: DebugSections, r: SectionReader): Program {
  const { offsetSize, end } = r.unit()
  const version = r.u16()
  if (version < 2 || version > 5) throw new RangeError(`line table version ${version}`)
  const addressSize = version >= 5 ? r.u8() : 4
  if (version >= 5) r.u8()
  const header = r.sized(offsetSize)
  const code = r.at + header
  const minimum = r.u8()
  if (version >= 4) r.u8()
  r.u8()
  const lineBase = r.s8()
  const lineRange = r.u8()
  if (lineRange === 0) throw new RangeError('line range 0')
  const opcodes = r.u8()
  const lengths = Array.from({ length: Math.max(0, opcodes - 1) }, () => r.u8())
  const unit: UnitTables = { offsetSize, version, addressSize, stringBase: -1, addressBase: -1 }
  const files = version >= 5 ? newFiles(sections, r, unit) : oldFiles(r)
  r.at = code
  const firstFile = version >= 5 ? 0 : 1
  return { end, files, firstFile, codeOffset: sections.codeOffset, minimum, lineBase, lineRange, lengths }
}

const join = (directory: string | undefined, name: string): string =>
  directory === undefined || directory === '' || name.startsWith('/') ? name : `${directory}/${name}`

function oldFiles(r: SectionReader): string[] {
  const directories: string[] = []
  for (let name = r.string(); name !== ''; name = r.string()) directories.push(name)
  const files: string[] = []
  for (let name = r.string(); name !== ''; name = r.string()) {
    const directory = r.uleb()
    r.uleb()
    r.uleb()
    files.push(join(directories[directory - 1], name))
  }
  return files
}

function newFiles(sections: DebugSections, r: SectionReader, unit: UnitTables): string[] {
  const entries = (): { path: string; directory: number }[] => {
    const format = Array.from({ length: r.u8() }, () => [r.uleb(), r.uleb()] as const)
    return Array.from({ length: r.uleb() }, () => {
      let path = ''
      let directory = 0
      for (const [content, form] of format) {
        const value = sections.value(r, form, unit, 0)
        if (content === 1) path = String(value)
        else if (content === 2) directory = Number(value)
      }
      return { path, directory }
    })
  }
  const directories = entries()
  // Directory 0 is where the compiler ran: names in it stay as they were given.
  return entries().map(({ path, directory }) =>
    join(directory === 0 ? undefined : directories[directory]?.path, path),
  )
}

function runProgram(r: SectionReader, program: Program, base: number, rows: Row[]): void {
  const { end, minimum, lineBase, lineRange, lengths, codeOffset, firstFile } = program
  const special = lengths.length + 1
  let address = 0
  let file = 1
  let line = 1
  let column = 0
  let sequence: Row[] = []
  const row = (ended: boolean): void => {
    sequence.push({
      place: address + codeOffset,
      file: ended ? -1 : base + file - firstFile,
      line,
      column: Math.min(column, 65_535),
    })
  }
  while (r.at < end) {
    const opcode = r.u8()
    if (opcode >= special) {
      const adjusted = opcode - special
      address += Math.floor(adjusted / lineRange) * minimum
      line += lineBase + (adjusted % lineRange)
      row(false)
      continue
    }
    switch (opcode) {
      case 0: {
        const length = r.uleb()
        const next = r.at + length
        const extended = r.u8()
        if (extended === 1) {
          row(true)
          const start = (sequence[0]?.place ?? 0) - codeOffset
          if (!isRemoved(start)) for (const kept of sequence) rows.push(kept)
          sequence = []
          address = 0
          file = 1
          line = 1
          column = 0
        } else if (extended === 2) address = r.sized(length - 1)
        r.at = next
        break
      }
      case 1:
        row(false)
        break
      case 2:
        address += r.uleb() * minimum
        break
      case 3:
        line += r.sleb()
        break
      case 4:
        file = r.uleb()
        break
      case 5:
        column = r.uleb()
        break
      case 8:
        address += Math.floor((255 - special) / lineRange) * minimum
        break
      case 9:
        address += r.u16()
        break
      default:
        for (let left = lengths[opcode - 1] ?? 0; left > 0; left--) r.uleb()
    }
  }
}
