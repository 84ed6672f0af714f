/**
 * Names for return addresses of a process that runs: function, file and line where debug symbols are (binutils' addr2line reads
 * them), functions of the symbol table otherwise, `program+0xoffset` for what is stripped; code that was made at run time is looked up in
 * /tmp/perf-PID.map, which Node, Java and others write if asked to.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { type Mapping, readMaps } from '../process/maps.ts'
import { Elf, type Functions } from './elf.ts'

/** One function of a stack. */
export interface Frame {
  /** A name, or `program+0xoffset`. */
  readonly function: string
  /** Source file; undefined: not known. */
  readonly file?: string
  readonly line?: number
  /** The program or library; of Python's own frames, `python`. */
  readonly module: string
  readonly language: 'native' | 'python' | 'javascript'
  /** The compiler has put it into its caller. */
  readonly inlined?: boolean
}

interface Place {
  readonly path: string
  /** Where to open it. */
  readonly open: string
  readonly offset: number
}

/** Milliseconds that addr2line may take for one file. */
const patience = 60_000

export class Symbols {
  readonly #pid: number
  readonly #maps: readonly Mapping[]
  readonly #names = new Map<number, readonly Frame[]>()
  #perf: PerfMap | undefined

  constructor(pid: number) {
    this.#pid = pid
    this.#maps = readMaps(pid).filter(({ executable }) => executable)
  }

  /** Finds the names of all these return addresses at once. */
  learn(addresses: Iterable<number>): void {
    const modules = new Map<string, { place: Place; wanted: [number, number][] }>()
    for (const address of new Set(addresses)) {
      if (this.#names.has(address)) continue
      // The call is before the address that it returns to.
      const place = this.#placeOf(address - 1)
      if (place === undefined) this.#names.set(address, [this.#madeAtRunTime(address - 1)])
      else {
        const module = modules.get(place.path) ?? { place, wanted: [] }
        module.wanted.push([address, place.offset])
        modules.set(place.path, module)
      }
    }
    for (const [path, { place, wanted }] of modules) this.#learnModule(path, place.open, wanted)
    this.#demangle()
  }

  /** The functions at a return address, innermost first: more than one where some are inlined. */
  framesAt(address: number): readonly Frame[] {
    return this.#names.get(address) ?? []
  }

  #placeOf(address: number): Place | undefined {
    const mapping = this.#maps.find(({ start, end }) => address >= start && address < end)
    if (mapping === undefined || !mapping.name.startsWith('/')) return undefined
    const hex = (n: number): string => n.toString(16)
    return {
      path: mapping.name,
      // The very file that is mapped, whatever has become of its name, and in whatever root it is.
      open: `/proc/${this.#pid}/map_files/${hex(mapping.start)}-${hex(mapping.end)}`,
      offset: address - mapping.start + mapping.offset,
    }
  }

  #learnModule(path: string, open: string, wanted: readonly [address: number, offset: number][]): void {
    const module = basename(path)
    const plain = (offset: number): Frame => ({
      function: `${module}+0x${offset.toString(16)}`,
      module: path,
      language: 'native',
    })
    let elf: Elf
    try {
      elf = openElf(path, open)
    } catch {
      for (const [address, offset] of wanted) this.#names.set(address, [plain(offset)])
      return
    }
    try {
      const places = wanted.map(([address, offset]) => [address, elf.addressOf(offset) ?? offset] as const)
      const lines = elf.withLines()
      const found =
        lines === undefined
          ? undefined
          : addr2line(
              lines,
              places.map(([, at]) => at),
              path,
            )
      let functions: Functions | undefined
      for (const [address, at] of places) {
        const frames = found?.get(at)
        if (frames !== undefined) {
          this.#names.set(address, frames)
          continue
        }
        functions ??= elf.functions()
        const name = functions.at(at)
        this.#names.set(address, [
          name === undefined ? plain(at) : { function: name, module: path, language: 'native' },
        ])
      }
    } finally {
      elf.close()
    }
  }

  #madeAtRunTime(address: number): Frame {
    this.#perf ??= new PerfMap(`/tmp/perf-${this.#pid}.map`)
    return (
      this.#perf.at(address) ?? {
        function: `0x${address.toString(16)}`,
        module: '[made at run time]',
        language: 'native',
      }
    )
  }

  #demangle(): void {
    const mangled = new Set<string>()
    for (const frames of this.#names.values())
      for (const frame of frames) if (frame.function.startsWith('_Z')) mangled.add(frame.function)
    if (mangled.size === 0) return
    const names = [...mangled]
    const done = spawnSync('c++filt', [], { input: names.join('\n'), encoding: 'utf8', timeout: patience })
    if (done.status !== 0) return
    const plain = new Map(done.stdout.split('\n').map((text, i) => [names[i], text]))
    for (const [address, frames] of this.#names)
      if (frames.some(frame => mangled.has(frame.function)))
        this.#names.set(
          address,
          frames.map(frame => ({ ...frame, function: plain.get(frame.function) ?? frame.function })),
        )
  }
}

function openElf(path: string, open: string): Elf {
  try {
    return new Elf(path)
  } catch {
    return new Elf(open)
  }
}

// Undefined if there is no addr2line. An address of which it knows no line is left out.
function addr2line(
  file: string,
  addresses: readonly number[],
  module: string,
): Map<number, Frame[]> | undefined {
  const input = addresses.map(at => `0x${at.toString(16)}`).join('\n')
  const done = spawnSync('addr2line', ['-e', file, '-a', '-f', '-i', '-C'], {
    input,
    encoding: 'utf8',
    timeout: patience,
    maxBuffer: 1 << 28,
  })
  if (done.error !== undefined || done.status !== 0) return undefined
  const found = new Map<number, Frame[]>()
  let frames: Frame[] = []
  const lines = done.stdout.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    if (/^0x[0-9a-f]+$/.test(line)) {
      frames = []
      found.set(Number.parseInt(line, 16), frames)
    } else if (line !== '') {
      const where = /^(.*):(\d+|\?)/.exec(lines[++i] ?? '')
      const source = where?.[1]
      const number = Number(where?.[2])
      frames.push({
        function: line,
        ...(source === undefined || source === '??' ? {} : { file: source }),
        ...(number > 0 ? { line: number } : {}),
        module,
        language: 'native',
      })
    }
  }
  for (const [at, all] of found)
    if (all.every(frame => frame.file === undefined)) found.delete(at)
    else
      found.set(
        at,
        all.map((frame, i) => (i < all.length - 1 ? { ...frame, inlined: true } : frame)),
      )
  return found
}

/** What a virtual machine says of the code that it makes: a line of start, size (hexadecimal) and name each. */
class PerfMap {
  readonly #starts: number[] = []
  readonly #entries = new Map<number, { bytes: number; name: string }>()

  constructor(path: string) {
    let text = ''
    try {
      text = readFileSync(path, 'utf8')
    } catch {
      return // it was not asked to
    }
    for (const line of text.split('\n')) {
      const [, start, bytes, name] = /^([0-9a-f]+) ([0-9a-f]+) (.*)$/.exec(line) ?? []
      // The last one that was put there counts.
      if (start !== undefined)
        this.#entries.set(Number.parseInt(start, 16), {
          bytes: Number.parseInt(bytes ?? '0', 16),
          name: name ?? '',
        })
    }
    this.#starts = [...this.#entries.keys()].sort((a, b) => a - b)
  }

  at(address: number): Frame | undefined {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#starts[middle] ?? 0) <= address) low = middle + 1
      else high = middle
    }
    const start = this.#starts[low - 1] ?? Number.NaN
    const entry = this.#entries.get(start)
    if (entry === undefined || address - start >= entry.bytes) return undefined
    // V8: kind, tier, function, file, line, column.
    const [, name = '', file, line] =
      /^(?:JS|LazyCompile|Function|Script|Eval):[*~^+]*(\S*) (?:file:\/\/)?(\S+?):(\d+)(?::\d+)?$/.exec(
        entry.name,
      ) ?? []
    if (file === undefined) return { function: entry.name, module: '[made at run time]', language: 'native' }
    return {
      function: name === '' ? '(anonymous)' : name,
      file,
      line: Number(line),
      module: 'javascript',
      language: 'javascript',
    }
  }
}
