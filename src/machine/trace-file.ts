/** Trace files: from the disk or standard input, plain, .gz or .zst, as chunks; memory stays the same however long they are. */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs'
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { MachineError } from './errors.ts'
import { detectFormat, type Sink, type TraceFormat, TraceReader, traceFormats } from './trace.ts'

const starts = (head: Uint8Array, ...bytes: number[]): boolean => bytes.every((byte, i) => head[i] === byte)

function openTrace(path: string): number {
  if (path === '-') return 0
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw new MachineError('trace', `${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** The bytes of a trace, decompressed if they are compressed. A chunk is good until the next one is asked for. MachineError 'trace'. */
async function* chunks(path: string): AsyncGenerator<Uint8Array> {
  const fd = openTrace(path)
  if (!fstatSync(fd).isFile()) {
    const source = path === '-' ? process.stdin : createReadStream('', { fd, highWaterMark: 1 << 20 })
    const bytes = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const first = await bytes.next()
    if (first.done !== true) yield* decompressed(first.value, bytes)
    return
  }
  const buffer = new Uint8Array(1 << 20)
  const first = readSync(fd, buffer)
  if (isCompressed(buffer)) {
    const rest = createReadStream('', { fd, highWaterMark: 1 << 20 })
    return yield* decompressed(buffer.slice(0, first), rest[Symbol.asyncIterator]() as AsyncIterator<Buffer>)
  }
  try {
    for (let n = first; n > 0; n = readSync(fd, buffer)) yield buffer.subarray(0, n)
  } finally {
    if (path !== '-') closeSync(fd)
  }
}

const isGzip = (head: Uint8Array): boolean => starts(head, 0x1f, 0x8b)
const isZstd = (head: Uint8Array): boolean => starts(head, 0x28, 0xb5, 0x2f, 0xfd)
const isCompressed = (head: Uint8Array): boolean => isGzip(head) || isZstd(head)

async function* decompressed(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield first
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
  }
  if (isGzip(first)) yield* Readable.from(whole()).pipe(createGunzip({ chunkSize: 1 << 18 }))
  else if (isZstd(first)) yield* Readable.from(whole()).pipe(createZstdDecompress({ chunkSize: 1 << 18 }))
  else yield* whole()
}

function detected(path: string, head: Uint8Array): TraceFormat {
  const format = detectFormat(path, head)
  if (format !== undefined) return format
  throw new MachineError(
    'trace',
    `${path} is no trace that we know: name its format with --format, one of ${traceFormats.join(', ')}`,
  )
}

/** Takes records as they are, Dinero's or ours: how many bytes, of whole records. What it leaves is decoded and goes to the sink, which says what is wrong. */
export type Direct = (bytes: Uint8Array, dinero: boolean) => number

/** A trace's records, block after block (two words each), and what format it has. MachineError 'trace' says in which line what is wrong. */
async function* blocks(
  path: string,
  sink: Sink,
  given?: TraceFormat,
  direct?: Direct,
): AsyncGenerator<TraceFormat> {
  let reader: TraceReader | undefined
  let format = given
  try {
    let head: Uint8Array = new Uint8Array(0)
    for await (const chunk of chunks(path)) {
      // The format is found out from 64 KiB, or from all there is.
      head = reader === undefined && head.length > 0 ? Buffer.concat([head, chunk]) : chunk
      if (format === undefined && head.length < 65_536) {
        head = new Uint8Array(head)
        continue
      }
      format ??= detected(path, head)
      reader ??= new TraceReader(path, format, sink)
      let taken = 0
      if (direct !== undefined && reader.between && (format === 'lethe' || format === 'dinb')) {
        reader.flush()
        taken = direct(head, format === 'dinb')
        reader.skip(taken)
      }
      reader.push(head.subarray(taken), false)
      yield format
    }
    if (reader === undefined && head.length > 0) {
      format ??= detected(path, head)
      reader = new TraceReader(path, format, sink)
      reader.push(head, false)
    }
  } catch (error) {
    if (error instanceof MachineError) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new MachineError(
      'trace',
      code?.startsWith('Z_') || code?.startsWith('ZSTD') || code === 'ERR_ZSTD_DECOMPRESSION_FAILED'
        ? `${path} is damaged: it can't be decompressed to its end (${code})`
        : `${path} can't be read (${code ?? (error as Error).message})`,
    )
  }
  reader?.push(new Uint8Array(0), true)
  yield format ?? 'addresses'
}

/**
 * Gives all records of a trace to `sink`, in order; the format that it has, found out from name and contents if it is not given. Bytes of binary
 * formats with records of 64 bits go to `direct` first.
 */
export async function readTrace(
  path: string,
  sink: Sink,
  given?: TraceFormat,
  direct?: Direct,
): Promise<TraceFormat> {
  let format: TraceFormat = given ?? 'addresses'
  for await (const found of blocks(path, sink, given, direct)) format = found
  return format
}

/** A trace that somebody takes records from when he wants them. */
export class TraceSource {
  readonly #blocks: AsyncGenerator<TraceFormat>
  readonly #ready: Uint32Array[] = []
  format: TraceFormat = 'addresses'

  constructor(path: string, given?: TraceFormat) {
    this.#blocks = blocks(path, (words, count) => this.#ready.push(words.slice(0, count * 2)), given)
  }

  /** Fills `into` with the next records, from word `at` on; the word behind the last. Less than all only at the end. */
  async take(into: Uint32Array, at: number): Promise<number> {
    let to = at
    while (to < into.length) {
      const block = this.#ready[0]
      if (block === undefined) {
        const next = await this.#blocks.next()
        if (next.done === true) return to
        this.format = next.value
        continue
      }
      const part = block.subarray(0, into.length - to)
      into.set(part, to)
      to += part.length
      if (part.length === block.length) this.#ready.shift()
      else this.#ready[0] = block.subarray(part.length)
    }
    return to
  }
}
