/** The system's decompressors over a backing: everything in order, or one block. */
import type { Backing } from '../backing/backing.ts'
import {
  type CodecName,
  type Decompressor,
  decompressor,
  INPUT_BYTES,
  MissingLibrary,
  type Step,
} from '../sys/codecs.ts'
import { LensError } from './errors.ts'
import type { Block } from './frames.ts'

const packages: Readonly<Record<CodecName, string>> = {
  zstd: 'libzstd1',
  xz: 'liblzma5',
  bzip2: 'libbz2-1.0',
  lz4: 'liblz4-1',
}

/** What `make` makes of a codec's library; LensError 'unsupported' where that is missing. */
export function fromLibrary<T>(codec: CodecName, lens: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof MissingLibrary)) throw error
    throw new LensError(
      'unsupported',
      lens,
      `${error.library} is not there; install it (Debian: apt install ${packages[codec]})`,
      undefined,
      error,
    )
  }
}

/** Reads compressed bytes of a backing in order into a decompressor, and lets it decode. */
export class NativeReader {
  readonly #codec: Decompressor
  readonly #lens: string
  readonly #backing: Backing
  #end: number
  /** Offset in the backing of input[0]. */
  #source: number
  #from = 0
  #filled = 0
  #full = false

  /** Decodes the bytes of a backing from `start` up to `end`. To be released after use. */
  constructor(codec: CodecName, lens: string, backing: Backing, start: number, end: number) {
    this.#codec = fromLibrary(codec, lens, () => decompressor(codec))
    this.#lens = lens
    this.#backing = backing
    this.#source = start
    this.#end = end
  }

  /** Offset in the backing of what is decoded next. */
  get offset(): number {
    return this.#source + this.#from
  }

  /** A new stream begins. */
  begin(): void {
    this.#codec.begin()
  }

  release(): void {
    this.#codec.release()
  }

  /** From now on the bytes from `start` up to `end` follow. What was read and not used is dropped. */
  follow(start: number, end: number): void {
    this.#source = start
    this.#end = end
    this.#from = this.#filled = 0
  }

  /** The next `length` bytes to be decoded, or those up to the end. */
  peek(length: number): Uint8Array {
    if (this.#filled - this.#from < length) this.#fetch()
    return this.#codec.input.subarray(this.#from, Math.min(this.#from + length, this.#filled))
  }

  /**
   * Decodes some; what was made is in `output` until the next call. `last`: no bytes will ever follow those up to `end`.
   * undefined where all bytes up to `end` are used and nothing more comes of them.
   */
  next(last: boolean): Step | undefined {
    if (this.#from === this.#filled) this.#fetch()
    const used = this.#from === this.#filled
    if (used && !this.#full && !last) return undefined
    const finishing = last && this.#source + this.#filled >= this.#end
    const step = this.#codec.step(this.#from, this.#filled, finishing)
    if (step.error !== undefined) throw new LensError('corrupt', this.#lens, step.error, this.offset)
    this.#from += step.used
    this.#full = step.made === this.#codec.output.length
    if (!step.ended && step.used === 0 && step.made === 0 && used) {
      if (last) throw new LensError('corrupt', this.#lens, 'the file is truncated', this.offset)
      return undefined
    }
    return step
  }

  get output(): Uint8Array {
    return this.#codec.output
  }

  #fetch(): void {
    const { input } = this.#codec
    input.copyWithin(0, this.#from, this.#filled)
    this.#source += this.#from
    this.#filled -= this.#from
    this.#from = 0
    const wanted = Math.min(INPUT_BYTES - this.#filled, this.#end - this.#source - this.#filled)
    if (wanted <= 0) return
    const got = this.#backing.read(
      this.#source + this.#filled,
      input.subarray(this.#filled, this.#filled + wanted),
    )
    if (got !== wanted)
      throw new LensError('io', this.#lens, 'the backing is shorter than it was', this.#source)
    this.#filled += wanted
  }
}

/**
 * Decodes frame after frame. `isFrame` says whether another one begins with these (up to 32) bytes; what follows the last one
 * is not part of the view. `ended` is called with the offset behind each frame. A sink that says false ends it early:
 * then the answer is false too.
 */
export function decodeFrames(
  codec: CodecName,
  lens: string,
  backing: Backing,
  isFrame: (head: Uint8Array) => boolean,
  sink: (bytes: Uint8Array) => boolean | void,
  tick: () => void,
  ended?: (offset: number) => void,
): boolean {
  const reader = new NativeReader(codec, lens, backing, 0, backing.size)
  try {
    if (!isFrame(reader.peek(32))) throw new LensError('corrupt', lens, 'this is no such file', 0)
    while (isFrame(reader.peek(32))) {
      reader.begin()
      for (;;) {
        const step = reader.next(true)
        if (step && step.made > 0 && sink(reader.output.subarray(0, step.made)) === false) return false
        tick()
        if (!step || step.ended) break
      }
      ended?.(reader.offset)
    }
    return true
  } finally {
    reader.release()
  }
}

/**
 * The frames of a file as blocks, found by decoding all of it once; undefined where one makes more than `most` bytes. For formats
 * that do not say where a frame ends.
 */
export function framesAsBlocks(
  codec: CodecName,
  lens: string,
  backing: Backing,
  isFrame: (head: Uint8Array) => boolean,
  most: number,
  tick: () => void,
): readonly Block[] | undefined {
  const found: Block[] = []
  let made = 0
  let source = 0
  const complete = decodeFrames(
    codec,
    lens,
    backing,
    isFrame,
    bytes => {
      made += bytes.length
      return made <= most
    },
    tick,
    end => {
      found.push({ source, sourceBytes: end - source, bytes: made, head: source, headBytes: 0 })
      source = end
      made = 0
    },
  )
  return complete ? found : undefined
}

/** Decodes one block, which must make just as much as `into` takes. */
export function decodeBlock(
  codec: CodecName,
  lens: string,
  backing: Backing,
  place: Block,
  into: Uint8Array,
): void {
  const reader = new NativeReader(codec, lens, backing, place.head, place.head + place.headBytes)
  let made = 0
  const drain = (): void => {
    for (;;) {
      const step = reader.next(false)
      if (!step) return
      if (made + step.made > into.length) throw wrong()
      into.set(reader.output.subarray(0, step.made), made)
      made += step.made
      if (step.ended) return
    }
  }
  const wrong = (): LensError =>
    new LensError('corrupt', lens, 'a block does not make what its index says', place.source)
  try {
    reader.begin()
    if (place.headBytes > 0) drain()
    reader.follow(place.source, place.source + place.sourceBytes)
    drain()
    if (made !== into.length) throw wrong()
  } finally {
    reader.release()
  }
}
