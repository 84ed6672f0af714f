/**
 * Allocation traces. Three formats, told apart by their first line that says something:
 *
 *   CS:APP .rep    three or four numbers (suggested heap size, ids, operations, weight), then `a ID BYTES`, `r ID BYTES`, `f ID`
 *   wee_alloc      `Alloc(BYTES),` makes the next block, counted from 0; `Free(N),` frees the n-th, once
 *   lethe          `# lethe malloc trace 1`, then `a ID BYTES [SITE]`, `c ID BYTES [SITE]` (zeroed), `m ID BYTES ALIGN [SITE]`,
 *                  `r ID BYTES [SITE]` and `f ID`; SITE is the rest of the line, or @N for the N-th site named so far
 */

export type Kind = 'alloc' | 'calloc' | 'aligned' | 'realloc' | 'free'
const kinds: readonly Kind[] = ['alloc', 'calloc', 'aligned', 'realloc', 'free']

/** A trace as columns: operation i is `kind[i]` of block `id[i]`. */
export interface Trace {
  readonly format: 'csapp' | 'wee_alloc' | 'lethe'
  /** Operations. */
  readonly length: number
  /** Ids are below this. */
  readonly ids: number
  readonly kind: Uint8Array
  readonly id: Int32Array
  /** Bytes that are asked for; 0 for free. */
  readonly bytes: Int32Array
  readonly align: Int32Array
  /** Index into `sites`, or -1. */
  readonly site: Int32Array
  readonly sites: readonly string[]
}

export const kindOf = (trace: Trace, i: number): Kind => kinds[trace.kind[i] as number] as Kind

/** A trace that can't be read or makes no sense; `line` counts from 1. */
export class TraceError extends Error {
  override readonly name = 'TraceError'
  readonly line: number
  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

const MOST = 0x7fffffff

/** Collects operations and checks that they make sense. */
class Builder {
  readonly #kind: number[] = []
  readonly #id: number[] = []
  readonly #bytes: number[] = []
  readonly #align: number[] = []
  readonly #site: number[] = []
  readonly #sites = new Map<string, number>()
  readonly #live = new Set<number>()
  #ids = 0

  add(line: number, kind: Kind, id: number, bytes: number, align = 0, site = ''): void {
    const fail = (message: string): never => {
      throw new TraceError(line, `line ${line}: ${message}`)
    }
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MOST)
      fail(`'${bytes}' is not a number of bytes below 2^31`)
    // free(NULL) is written as block -1.
    if (kind === 'free' && id === -1) return
    if (!Number.isSafeInteger(id) || id < 0 || id > 1e9) fail(`'${id}' is not the number of a block`)
    const live = this.#live.has(id)
    if (kind === 'free' && !live) fail(`block ${id} is freed, but it is not allocated`)
    if (kind !== 'free' && kind !== 'realloc' && live) fail(`block ${id} is allocated, but it already is`)
    if (kind === 'aligned' && (align < 1 || align > 2 ** 30 || (align & (align - 1)) !== 0))
      fail(`'${align}' is not an alignment: a power of two`)
    if (kind === 'free' || (kind === 'realloc' && bytes === 0 && live)) this.#live.delete(id)
    else this.#live.add(id)
    this.#kind.push(kinds.indexOf(kind))
    this.#id.push(id)
    this.#bytes.push(kind === 'free' ? 0 : bytes)
    this.#align.push(align)
    this.#site.push(site === '' ? -1 : this.#siteOf(site))
    this.#ids = Math.max(this.#ids, id + 1)
  }

  isLive(id: number): boolean {
    return this.#live.has(id)
  }

  #siteOf(site: string): number {
    const known = site.startsWith('@') ? Number(site.slice(1)) : this.#sites.get(site)
    if (known !== undefined) return known < this.#sites.size ? known : -1
    this.#sites.set(site, this.#sites.size)
    return this.#sites.size - 1
  }

  build(format: Trace['format']): Trace {
    if (this.#kind.length === 0) throw new TraceError(1, 'it has no operation')
    return {
      format,
      length: this.#kind.length,
      ids: this.#ids,
      kind: Uint8Array.from(this.#kind),
      id: Int32Array.from(this.#id),
      bytes: Int32Array.from(this.#bytes),
      align: Int32Array.from(this.#align),
      site: Int32Array.from(this.#site),
      sites: [...this.#sites.keys()],
    }
  }
}

/** Reads a trace. Throws TraceError. */
export function parseTrace(text: string): Trace {
  const lines = text.split('\n')
  const first = lines.findIndex(line => line.trim() !== '')
  if (first < 0) throw new TraceError(1, 'it is empty')
  const head = (lines[first] ?? '').trim()
  if (/^(Alloc|Free)\(/.test(head)) return parseWee(lines)
  if (head.startsWith('# lethe malloc trace 1')) return parseLetters(lines, 'lethe', first + 1)
  if (/^-?\d+(\s+-?\d+)*$/.test(head) || /^[arf]\s+-?\d/.test(head))
    return parseLetters(lines, 'csapp', first)
  throw new TraceError(
    first + 1,
    `line ${first + 1}: '${head.slice(0, 40)}' begins neither a .rep trace (numbers), nor a wee_alloc trace (Alloc(BYTES),), nor a lethe one (# lethe malloc trace 1)`,
  )
}

function parseWee(lines: readonly string[]): Trace {
  const builder = new Builder()
  let next = 0
  lines.forEach((text, i) => {
    const line = text.trim()
    if (line === '' || line.startsWith('//')) return
    const match = /^(Alloc|Free)\((\d+)\),?$/.exec(line)
    if (match === null)
      throw new TraceError(
        i + 1,
        `line ${i + 1}: '${line.slice(0, 40)}' is neither Alloc(BYTES), nor Free(N),`,
      )
    const number = Number(match[2])
    if (match[1] === 'Alloc') builder.add(i + 1, 'alloc', next++, number)
    else if (number >= next)
      throw new TraceError(i + 1, `line ${i + 1}: Free(${number}) before there are so many blocks`)
    else if (builder.isLive(number)) builder.add(i + 1, 'free', number, 0)
  })
  return builder.build('wee_alloc')
}

const letters: Readonly<Record<string, Kind>> = {
  a: 'alloc',
  c: 'calloc',
  m: 'aligned',
  r: 'realloc',
  f: 'free',
}

function parseLetters(lines: readonly string[], format: 'csapp' | 'lethe', from: number): Trace {
  const builder = new Builder()
  let started = format === 'lethe'
  for (let i = from; i < lines.length; i++) {
    const line = (lines[i] ?? '').trim()
    if (line === '' || line.startsWith('#')) continue
    if (!started && /^-?\d+(\s+-?\d+)*$/.test(line)) continue
    started = true
    const [letter = '', id, bytes, ...rest] = line.split(/\s+/)
    const kind = letters[letter]
    const words = kind === 'free' ? 2 : kind === 'aligned' ? 4 : 3
    if (kind === undefined || (format === 'csapp' && (kind === 'calloc' || kind === 'aligned')))
      throw new TraceError(
        i + 1,
        `line ${i + 1}: '${line.slice(0, 40)}' is no operation: a ID BYTES, r ID BYTES or f ID`,
      )
    const given = 1 + Number(id !== undefined) + Number(bytes !== undefined) + rest.length
    if (given < words) throw new TraceError(i + 1, `line ${i + 1}: '${line}' ends too early`)
    const align = kind === 'aligned' ? Number(rest.shift()) : 0
    builder.add(i + 1, kind, Number(id), kind === 'free' ? 0 : Number(bytes), align, rest.join(' '))
  }
  return builder.build(format)
}

/** A trace in lethe's own format. */
export function formatTrace(trace: Trace): string {
  const out = ['# lethe malloc trace 1']
  const named = new Set<number>()
  for (let i = 0; i < trace.length; i++) {
    const kind = kindOf(trace, i)
    const letter = Object.keys(letters).find(key => letters[key] === kind) as string
    const site = trace.site[i] as number
    const words: (string | number)[] = [letter, trace.id[i] as number]
    if (kind !== 'free') words.push(trace.bytes[i] as number)
    if (kind === 'aligned') words.push(trace.align[i] as number)
    if (site >= 0) words.push(named.has(site) ? `@${site}` : (trace.sites[site] as string))
    named.add(site)
    out.push(words.join(' '))
  }
  return `${out.join('\n')}\n`
}
