/**
 * Sequential decompressors of the system's own libraries: zstd (node itself carries it), xz, bzip2, lz4 frames.
 *
 * One shape for all: `step` decodes from `input` to `output` until one of the two is used up, or a frame ends. Synchronous, at
 * the libraries' own speed, with bounded memory. Debian's apt and dpkg depend on all four libraries, so they are there; where one
 * is missing, `decompressor` says which. Why not from npm: none there is synchronous *and* streams.
 */
import koffi from 'koffi'
import { type Arena, arena } from './ffi.ts'

export type CodecName = 'zstd' | 'xz' | 'bzip2' | 'lz4'

/** The library of a codec can't be loaded. */
export class MissingLibrary extends Error {
  override readonly name = 'MissingLibrary'
  readonly library: string

  constructor(library: string, cause: unknown) {
    super(`Cannot load ${library}`, { cause })
    this.library = library
  }
}

/** What a step came to. `used` bytes of input are gone, `made` bytes of output are there. */
export interface Step {
  used: number
  made: number
  /** Whether a frame (xz: the whole file) ended here. */
  ended: boolean
  /** What the library complains of. */
  error: string | undefined
}

export interface Decompressor {
  readonly input: Uint8Array
  readonly output: Uint8Array
  /** Begins a new stream. */
  begin(): void
  /** Decodes `input` from `from` up to `end`; `last`: nothing comes after that. The same object each time. */
  step(from: number, end: number, last: boolean): Step
  /** Gives it back; not to be used after that. */
  release(): void
}

export const INPUT_BYTES: number = 2 ** 17
const OUTPUT_BYTES: number = 2 ** 18

type Native = (...numbers: readonly number[]) => number
interface Buffers {
  readonly state: Arena
  readonly input: Arena
  readonly output: Arena
}

/** What is particular to a library. Addresses are numbers; `state` is 4096 zeroed bytes for its structures. */
interface Codec {
  readonly open: (state: Arena) => void
  readonly close: (state: Arena) => void
  readonly step: (buffers: Buffers, from: number, end: number, last: boolean, into: Step) => void
}

const libraries = new Map<string, ReturnType<typeof koffi.load>>()

function library(name: string | null): ReturnType<typeof koffi.load> {
  const key = name ?? ''
  let loaded = libraries.get(key)
  if (!loaded) {
    try {
      loaded = koffi.load(name)
    } catch (error) {
      throw new MissingLibrary(key, error)
    }
    libraries.set(key, loaded)
  }
  return loaded
}

function bind(names: readonly (string | null)[], declaration: string): Native {
  let failure: unknown
  for (const name of names)
    try {
      return library(name).func(declaration) as Native
    } catch (error) {
      failure = error
    }
  throw failure instanceof MissingLibrary ? failure : new MissingLibrary(String(names.at(-1)), failure)
}

const must = (result: number, what: string): void => {
  if (result !== 0) throw new Error(`lethe: ${what} said ${result}`)
}

function zstd(): Codec {
  const from = [null, 'libzstd.so.1']
  const create = bind(from, 'long ZSTD_createDCtx()')
  const free = bind(from, 'long ZSTD_freeDCtx(long d)')
  const decompress = bind(from, 'long ZSTD_decompressStream(long d, long out, long in)')
  // 0: the context · 64: ZSTD_inBuffer (address, size, position) · 96: ZSTD_outBuffer
  return {
    open(state) {
      state.u64[0] = BigInt(create())
    },
    close(state) {
      free(Number(state.u64[0]))
    },
    step({ state, input, output }, begin, end, _last, into) {
      state.u64[8] = BigInt(input.address)
      state.u64[9] = BigInt(end)
      state.u64[10] = BigInt(begin)
      state.u64[12] = BigInt(output.address)
      state.u64[13] = BigInt(OUTPUT_BYTES)
      state.u64[14] = 0n
      const result = decompress(Number(state.u64[0]), state.address + 96, state.address + 64)
      into.used = Number(state.u64[10]) - begin
      into.made = Number(state.u64[14])
      into.ended = result === 0
      into.error = result < 0 ? `zstd error ${-result}` : undefined
    },
  }
}

function xz(): Codec {
  const from = ['liblzma.so.5']
  const open = bind(from, 'int lzma_stream_decoder(long s, uint64_t limit, uint32_t flags)')
  const code = bind(from, 'int lzma_code(long s, int action)')
  const end = bind(from, 'void lzma_end(long s)')
  const CONCATENATED = 8
  const MOST_MEMORY = 2 ** 28
  const errors: Readonly<Record<number, string>> = {
    5: 'no memory',
    6: 'its dictionary needs more than 256 MiB',
    7: 'not an xz file',
    8: 'unknown xz options',
    9: 'damaged xz data',
    10: 'truncated xz data',
  }
  // lzma_stream: next_in, avail_in, total_in, next_out, avail_out, total_out, … 136 bytes
  return {
    open(state) {
      state.bytes.fill(0, 0, 136)
      must(open(state.address, MOST_MEMORY, CONCATENATED), 'lzma_stream_decoder')
    },
    close(state) {
      end(state.address)
    },
    step({ state, input, output }, begin, stop, last, into) {
      state.u64[0] = BigInt(input.address + begin)
      state.u64[1] = BigInt(stop - begin)
      state.u64[3] = BigInt(output.address)
      state.u64[4] = BigInt(OUTPUT_BYTES)
      const result = code(state.address, last ? 3 : 0)
      into.used = stop - begin - Number(state.u64[1])
      into.made = OUTPUT_BYTES - Number(state.u64[4])
      into.ended = result === 1
      into.error = result > 1 ? (errors[result] ?? `xz error ${result}`) : undefined
    },
  }
}

function bzip2(): Codec {
  const from = ['libbz2.so.1.0']
  const open = bind(from, 'int BZ2_bzDecompressInit(long s, int verbosity, int small)')
  const decompress = bind(from, 'int BZ2_bzDecompress(long s)')
  const end = bind(from, 'int BZ2_bzDecompressEnd(long s)')
  // bz_stream: 0 next_in · 8 u32 avail_in · 24 next_out · 32 u32 avail_out · … 80 bytes
  return {
    open(state) {
      state.bytes.fill(0, 0, 80)
      must(open(state.address, 0, 0), 'BZ2_bzDecompressInit')
    },
    close(state) {
      end(state.address)
    },
    step({ state, input, output }, begin, stop, _last, into) {
      state.u64[0] = BigInt(input.address + begin)
      state.u32[2] = stop - begin
      state.u64[3] = BigInt(output.address)
      state.u32[8] = OUTPUT_BYTES
      const result = decompress(state.address)
      into.used = stop - begin - (state.u32[2] ?? 0)
      into.made = OUTPUT_BYTES - (state.u32[8] ?? 0)
      into.ended = result === 4
      into.error = result < 0 ? `bzip2 error ${-result}` : undefined
    },
  }
}

function lz4(): Codec {
  const from = ['liblz4.so.1']
  const create = bind(from, 'long LZ4F_createDecompressionContext(long into, uint32_t version)')
  const free = bind(from, 'long LZ4F_freeDecompressionContext(long d)')
  const decompress = bind(
    from,
    'long LZ4F_decompress(long d, long out, long outSize, long in, long inSize, long options)',
  )
  // 0: the context · 8: size of the input · 16: size of the output
  return {
    open(state) {
      must(create(state.address, 100), 'LZ4F_createDecompressionContext')
    },
    close(state) {
      free(Number(state.u64[0]))
    },
    step({ state, input, output }, begin, stop, _last, into) {
      state.u64[1] = BigInt(stop - begin)
      state.u64[2] = BigInt(OUTPUT_BYTES)
      const result = decompress(
        Number(state.u64[0]),
        output.address,
        state.address + 16,
        input.address + begin,
        state.address + 8,
        0,
      )
      into.used = result < 0 ? 0 : Number(state.u64[1])
      into.made = result < 0 ? 0 : Number(state.u64[2])
      into.ended = result === 0
      into.error = result < 0 ? `lz4 error ${-result}` : undefined
    },
  }
}

const makers: Readonly<Record<CodecName, () => Codec>> = { zstd, xz, bzip2, lz4 }
const codecs = new Map<CodecName, Codec>()
/** Memory that is not in use: arenas are never given back to the system. */
const spare: Buffers[] = []

/** Begins to decompress. MissingLibrary where the codec's library is not there. */
export function decompressor(name: CodecName): Decompressor {
  const codec = codecs.get(name) ?? makers[name]()
  codecs.set(name, codec)
  const buffers = spare.pop() ?? {
    state: arena(4096),
    input: arena(INPUT_BYTES),
    output: arena(OUTPUT_BYTES),
  }
  const result: Step = { used: 0, made: 0, ended: false, error: undefined }
  let open = false
  const close = (): void => {
    if (open) codec.close(buffers.state)
    open = false
  }
  return {
    input: buffers.input.bytes,
    output: buffers.output.bytes,
    begin() {
      close()
      codec.open(buffers.state)
      open = true
    },
    step(from, end, last) {
      codec.step(buffers, from, end, last, result)
      return result
    },
    release() {
      close()
      spare.push(buffers)
    },
  }
}

/** One block of lz4, without a frame, from bytes to bytes: how many it makes, or a negative number where that fails. */
export function lz4Decoder(): (from: Uint8Array, to: Uint8Array) => number {
  const decode = library('liblz4.so.1').func(
    'int LZ4_decompress_safe(const void *from, void *to, int length, int room)',
  ) as (from: Uint8Array, to: Uint8Array, length: number, room: number) => number
  return (from, to) => decode(from, to, from.length, to.length)
}

/** Compresses and restores blocks that lie at addresses. Both answer bytes, or a negative number where that fails. */
export interface BlockCodec {
  compress(from: number, length: number, to: number, room: number): number
  decompress(from: number, length: number, to: number, room: number): number
}

/** zstd at its fastest ordinary level, a block at a time, with contexts that are used again. Of one thread. */
export function blockCodec(): BlockCodec {
  const from = [null, 'libzstd.so.1']
  const encoder = bind(from, 'long ZSTD_createCCtx()')()
  const decoder = bind(from, 'long ZSTD_createDCtx()')()
  const compress = bind(
    from,
    'long ZSTD_compressCCtx(long c, long to, long room, long from, long length, int level)',
  )
  const decompress = bind(
    from,
    'long ZSTD_decompressDCtx(long d, long to, long room, long from, long length)',
  )
  return {
    compress: (at, length, to, room) => compress(encoder, to, room, at, length, 1),
    decompress: (at, length, to, room) => decompress(decoder, to, room, at, length),
  }
}
