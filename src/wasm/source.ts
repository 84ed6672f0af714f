// A place in the code in the words of its source: function, file and line, the calls that the compiler put into one another unfolded.
import { type CodeRange, type DebugInfo, readDebugInfo, type Subprogram } from './dwarf.ts'
import { type Lines, readLines } from './dwarf-lines.ts'
import { importCount, type Module } from './module.ts'
import { type Names, readNames } from './names.ts'

export interface SourceFrame {
  readonly function: string
  /** Line 0, column 0: not known. */
  readonly file: string | undefined
  readonly line: number
  readonly column: number
}

/** What a module tells about its source. Each part is read when it is first asked for. */
export class Source {
  readonly #module: Module
  #names: Names | undefined
  #lines: Lines | undefined
  #info: DebugInfo | undefined
  #offsets: readonly number[] | undefined
  #starts: readonly number[] | undefined

  /** A module as it was decoded, not a rewritten one. */
  constructor(module: Module) {
    this.#module = module
  }

  get names(): Names {
    this.#names ??= readNames(this.#module)
    return this.#names
  }
  get lines(): Lines {
    this.#lines ??= readLines(this.#module)
    return this.#lines
  }
  get info(): DebugInfo {
    this.#info ??= readDebugInfo(this.#module)
    return this.#info
  }

  /** The name of a function by its index: of the name section, else of an export or an import, else `func[N]`. */
  functionName(index: number): string {
    const named = this.names.functions.get(index)
    if (named !== undefined) return named
    const exported = this.#module.exports.find(other => other.kind === 'func' && other.index === index)
    if (exported !== undefined) return exported.name
    const imported = this.#module.imports.filter(({ kind }) => kind === 'func')[index]
    return imported === undefined ? `func[${index}]` : `${imported.module}.${imported.name}`
  }

  /** The index of the function whose body a byte of the module belongs to; -1 for a byte of none. */
  functionAt(place: number): number {
    this.#offsets ??= this.#module.functions.map(({ offset }) => offset)
    const n = lastAtMost(this.#offsets, place)
    const func = this.#module.functions[n]
    if (func === undefined || place >= func.offset + func.body.length) return -1
    return importCount(this.#module, 'func') + n
  }

  /** The function of DWARF that a byte of the module belongs to. */
  subprogramAt(place: number): Subprogram | undefined {
    const { subprograms } = this.info
    this.#starts ??= subprograms.map(({ ranges }) => ranges[0]?.low ?? 0)
    const found = subprograms[lastAtMost(this.#starts, place)]
    return found !== undefined && covers(found.ranges, place) ? found : undefined
  }

  /**
   * Where a byte of the module (Cursor.place, originAt) is in the source: the innermost inlined call first, the function itself last.
   * At least one frame for code; none for a byte that is no code.
   */
  at(place: number): SourceFrame[] {
    const index = this.functionAt(place)
    if (index < 0) return []
    const found = this.lines.at(place)
    let where = { file: found?.file, line: found?.line ?? 0, column: found?.column ?? 0 }
    const subprogram = this.lines.length > 0 ? this.subprogramAt(place) : undefined
    const inlined = (subprogram?.inlined ?? [])
      .filter(({ ranges }) => covers(ranges, place))
      .toSorted((a, b) => b.depth - a.depth)
    const frames: SourceFrame[] = []
    for (const { name, callFile, callLine, callColumn } of inlined) {
      frames.push({ function: name, ...where })
      where = { file: callFile, line: callLine, column: callColumn }
    }
    frames.push({ function: subprogram?.name || this.functionName(index), ...where })
    return frames
  }
}

const covers = (ranges: readonly CodeRange[], place: number): boolean =>
  ranges.some(({ low, high }) => place >= low && place < high)

/** The last of ascending numbers that is at most `value`; -1 if none is. */
function lastAtMost(ascending: readonly number[], value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ascending[middle] as number) <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
