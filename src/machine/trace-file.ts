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

/**
 * Gives all records of a trace to `sink`, in order; the format that it has. The format is found out from name and contents if it is
 * not given. MachineError 'trace' says in which line what is wrong.
 */
export async function readTrace(path: string, sink: Sink, given?: TraceFormat): Promise<TraceFormat> {
  let reader: TraceReader | undefined
  let format = given
  try {
    for await (const chunk of chunks(path)) {
      format ??= detectFormat(path, chunk)
      if (format === undefined)
        throw new MachineError(
          'trace',
          `${path} is no trace that we know: name its format with --format, one of ${traceFormats.join(', ')}`,
        )
      reader ??= new TraceReader(path, format, sink)
      reader.push(chunk, false)
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
  return format ?? 'addresses'
}
