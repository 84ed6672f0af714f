/** What a program or library says of itself (ELF, 64 bit, little endian): segments, functions, whether it has line numbers. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { dirname, join } from 'node:path'

interface Section {
  readonly name: string
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

interface Segment {
  readonly offset: number
  readonly address: number
  readonly bytes: number
}

const SYMTAB = 2
const DYNSYM = 11
const LOAD = 1
/** Symbol types: a function, and one that is chosen at load time. */
const FUNC = 2
const IFUNC = 10

/** An open ELF file; close it. */
export class Elf {
  readonly path: string
  readonly #file: number
  readonly #sections: readonly Section[]
  readonly #segments: readonly Segment[]

  /** Throws if it is no ELF file of 64 bits. */
  constructor(path: string) {
    this.path = path
    this.#file = openSync(path, 'r')
    const head = this.#read(0, 64)
    if (head.readUInt32LE(0) !== 0x464c457f || head[4] !== 2) {
      closeSync(this.#file)
      throw new Error(`${path} is no ELF file of 64 bits`)
    }
    const programs = Number(head.readBigUInt64LE(32))
    const program = this.#read(programs, 56 * head.readUInt16LE(56))
    this.#segments = Array.from({ length: head.readUInt16LE(56) }, (_, i) => 56 * i)
      .filter(at => program.readUInt32LE(at) === LOAD)
      .map(at => ({
        offset: Number(program.readBigUInt64LE(at + 8)),
        address: Number(program.readBigUInt64LE(at + 16)),
        bytes: Number(program.readBigUInt64LE(at + 32)),
      }))
    this.#sections = this.#readSections(
      Number(head.readBigUInt64LE(40)),
      head.readUInt16LE(60),
      head.readUInt16LE(62),
    )
  }

  #read(at: number, bytes: number): Buffer {
    const into = Buffer.alloc(bytes)
    for (let got = 0; got < bytes; ) {
      const n = readSync(this.#file, into, got, bytes - got, at + got)
      if (n === 0) break
      got += n
    }
    return into
  }

  #readSections(at: number, count: number, names: number): Section[] {
    if (at === 0 || count === 0) return []
    const table = this.#read(at, 64 * count)
    const section = (i: number): Omit<Section, 'name'> & { name: number } => ({
      name: table.readUInt32LE(64 * i),
      type: table.readUInt32LE(64 * i + 4),
      offset: Number(table.readBigUInt64LE(64 * i + 24)),
      size: Number(table.readBigUInt64LE(64 * i + 32)),
      link: table.readUInt32LE(64 * i + 40),
    })
    const strings = section(names)
    const text = this.#read(strings.offset, strings.size)
    return Array.from({ length: count }, (_, i) => {
      const raw = section(i)
      return { ...raw, name: text.toString('latin1', raw.name, text.indexOf(0, raw.name)) }
    })
  }

  #section(name: string): Section | undefined {
    return this.#sections.find(section => section.name === name)
  }

  /** The address as the file has it, of a byte of the file. */
  addressOf(offset: number): number | undefined {
    const segment = this.#segments.find(one => offset >= one.offset && offset < one.offset + one.bytes)
    return segment === undefined ? undefined : offset - segment.offset + segment.address
  }

  /** The file that has line numbers for this one: itself, or one that a package of debug symbols brought; else undefined. */
  withLines(): string | undefined {
    if (this.#section('.debug_line') !== undefined || this.#section('.zdebug_line') !== undefined)
      return this.path
    const note = this.#section('.note.gnu.build-id')
    if (note !== undefined) {
      const id = this.#read(note.offset, note.size).subarray(16).toString('hex')
      const path = `/usr/lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`
      if (existsSync(path)) return path
    }
    const link = this.#section('.gnu_debuglink')
    if (link === undefined) return undefined
    const bytes = this.#read(link.offset, link.size)
    const name = bytes.toString('utf8', 0, bytes.indexOf(0))
    const folder = dirname(this.path)
    return [join(folder, name), join(folder, '.debug', name), join('/usr/lib/debug', folder, name)].find(
      path => path !== this.path && existsSync(path),
    )
  }

  /** Its functions; of a stripped file those that it exports. */
  functions(): Functions {
    const table =
      this.#sections.find(({ type }) => type === SYMTAB) ?? this.#sections.find(({ type }) => type === DYNSYM)
    const names = table === undefined ? undefined : this.#sections[table.link]
    if (table === undefined || names === undefined) return new Functions(Buffer.alloc(0), Buffer.alloc(0))
    return new Functions(this.#read(table.offset, table.size), this.#read(names.offset, names.size))
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** The functions of a symbol table, by address. */
export class Functions {
  readonly #symbols: Buffer
  readonly #names: Buffer
  readonly #order: Uint32Array

  constructor(symbols: Buffer, names: Buffer) {
    this.#symbols = symbols
    this.#names = names
    const found: number[] = []
    for (let at = 0; at + 24 <= symbols.length; at += 24) {
      const type = (symbols[at + 4] ?? 0) & 15
      if ((type === FUNC || type === IFUNC) && symbols.readUInt16LE(at + 6) !== 0) found.push(at)
    }
    this.#order = Uint32Array.from(found).sort((a, b) => this.#start(a) - this.#start(b))
  }

  #start(at: number): number {
    return Number(this.#symbols.readBigUInt64LE(at + 8))
  }

  /** The function that has this address inside; one that only begins somewhere before it does not count. */
  at(address: number): string | undefined {
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#start(this.#order[middle] ?? 0) <= address) low = middle + 1
      else high = middle
    }
    // Several may begin at one place, and some say no size.
    for (let i = low - 1; i >= 0 && i > low - 5; i--) {
      const at = this.#order[i] ?? 0
      if (address - this.#start(at) >= Number(this.#symbols.readBigUInt64LE(at + 16))) continue
      const name = this.#symbols.readUInt32LE(at)
      return this.#names.toString('utf8', name, this.#names.indexOf(0, name))
    }
    return undefined
  }
}
