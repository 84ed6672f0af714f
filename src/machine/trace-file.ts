/** Trace files: from the disk or standard input, plain, .gz or .zst, as chunks; memory stays the same however long they are. */
import { createReadStream, openSync } from 'node:fs'
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { MachineError } from './errors.ts'
import { detectFormat, type Sink, type TraceFormat, TraceReader, traceFormats } from './trace.ts'

function stream(path: string): Readable {
  if (path === '-') return process.stdin
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw new MachineError('trace', `${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
  }
  return createReadStream('', { fd, highWaterMark: 1 << 20 })
}

const starts = (head: Uint8Array, ...bytes: number[]): boolean => bytes.every((byte, i) => head[i] === byte)

/** The bytes of a file, decompressed if they are compressed. MachineError 'trace'. */
async function* chunks(path: string): AsyncGenerator<Uint8Array> {
  const source = stream(path)[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const first = await source.next()
  if (first.done === true) return
  async function* whole(): AsyncGenerator<Buffer> {
    yield first.value as Buffer
    for (;;) {
      const next = await source.next()
      if (next.done === true) return
      yield next.value
    }
  }
  const head = first.value
  if (starts(head, 0x1f, 0x8b)) yield* Readable.from(whole()).pipe(createGunzip({ chunkSize: 1 << 18 }))
  else if (starts(head, 0x28, 0xb5, 0x2f, 0xfd))
    yield* Readable.from(whole()).pipe(createZstdDecompress({ chunkSize: 1 << 18 }))
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

/** A trace's records, block after block (two words each), and what format it has. MachineError 'trace' says in which line what is wrong. */
async function* blocks(path: string, sink: Sink, given?: TraceFormat): AsyncGenerator<TraceFormat> {
  let reader: TraceReader | undefined
  let format = given
  try {
    let head: Uint8Array = new Uint8Array(0)
    for await (const chunk of chunks(path)) {
      // The format is found out from 64 KiB, or from all there is.
      head = reader === undefined && head.length > 0 ? Buffer.concat([head, chunk]) : chunk
      if (format === undefined && head.length < 65_536) continue
      format ??= detected(path, head)
      reader ??= new TraceReader(path, format, sink)
      reader.push(head, false)
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

/** Gives all records of a trace to `sink`, in order; the format that it has, found out from name and contents if it is not given. */
export async function readTrace(path: string, sink: Sink, given?: TraceFormat): Promise<TraceFormat> {
  let format: TraceFormat = given ?? 'addresses'
  for await (const found of blocks(path, sink, given)) format = found
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
