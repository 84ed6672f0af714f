/**
 * Compressed files whose decompressors can only go forwards: zstd, xz, bzip2, lz4.
 *
 * Where such a file is made of blocks that can be decoded by themselves, and each quickly, the index lists them, and a get
 * decodes those that it touches; the last few are kept. Else the whole view is decoded once, into the spool of the
 * store. Where there is no spool, or no room in it, slow blocks are better than nothing; and without blocks, a view of up
 * to INLINE bytes is kept as an index.
 *
 * Index: the blocks, six f64 each (position, bytes made, source, bytes of source, head, bytes of head), or the bytes of the view, or nothing;
 * then the trailer of f64: mark, size of the view, number of blocks, how it is kept.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { IndexKey, IndexMaker, IndexStore, StoredIndex } from './index-store.ts'
import { Indexed } from './indexed.ts'
import type { Lens } from './lens.ts'
import type { Spool } from './spool.ts'

const MARK = 20_261_123
const TRAILER = 32
const VERSION = 1
const BLOCKS = 0
const SPOOLED = 1
const INLINED = 2
const INLINE = 2 ** 26
/** Blocks that decompress to more are not decoded for a get. */
export const MOST_BLOCK: number = 2 ** 22
/** Bytes of decoded blocks that are kept, of all views together. */
const KEPT = 2 ** 23

export interface Block {
  /** Where in the backing, and how many bytes. */
  readonly source: number
  readonly sourceBytes: number
  /** Bytes that it makes. */
  readonly bytes: number
  /** What the decompressor must have seen before: the header of the file or frame. */
  readonly head: number
  readonly headBytes: number
}

const BLOCK_FIELDS = 6

/** A format. Errors are LensErrors. */
export interface FrameFormat {
  readonly lens: string
  /** Blocks that make at most so many bytes are decoded in a few milliseconds: better than a spool. */
  readonly quick: number
  /** Neighbours with one head that make together at most so many bytes become one block. */
  readonly group?: number
  /** The blocks, in order, if all can be decoded by themselves and make at most MOST_BLOCK bytes each. */
  blocks(backing: Backing, tick: () => void): readonly Block[] | undefined
  /** Decodes one of them, all of it. */
  block(backing: Backing, block: Block, into: Uint8Array): void
  /** Decodes the whole file in order, or until `sink` says false. The bytes given to it are only good during the call. */
  all(backing: Backing, sink: (bytes: Uint8Array) => boolean | void, tick: () => void): void
  suits(backing: Backing): boolean
}

const bytesOf = (words: Float64Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

interface Opened {
  readonly size: number
  /** As in the index. */
  readonly blocks: Float64Array
  /** Whole views. */
  readonly whole: StoredIndex | undefined
}

interface KeptBlock {
  readonly view: Opened
  readonly number: number
  readonly bytes: Uint8Array
}

/** Most recently used last. */
const kept: KeptBlock[] = []

function keep(block: KeptBlock): void {
  kept.push(block)
  let total = kept.reduce((sum, { bytes }) => sum + bytes.length, 0)
  while (total > KEPT && kept.length > 1) total -= kept.shift()?.bytes.length ?? 0
}

/** Blocks with neighbours put together, without those that make nothing. */
function grouped(blocks: readonly Block[], most: number): Block[] {
  const groups: Block[] = []
  for (const block of blocks) {
    if (block.bytes === 0) continue
    const last = groups.at(-1)
    const joins =
      last?.head === block.head &&
      last.headBytes > 0 &&
      last.source + last.sourceBytes === block.source &&
      last.bytes + block.bytes <= most
    if (!joins) groups.push(block)
    else
      groups[groups.length - 1] = {
        ...last,
        sourceBytes: last.sourceBytes + block.sourceBytes,
        bytes: last.bytes + block.bytes,
      }
  }
  return groups
}

function appendTrailer(maker: IndexMaker, size: number, count: number, how: number): void {
  maker.append(bytesOf(Float64Array.of(MARK, size, count, how)))
}

function listBlocks(format: FrameFormat, blocks: readonly Block[], maker: IndexMaker): void {
  const groups = grouped(blocks, format.group ?? 0)
  let position = 0
  const fields: number[] = []
  for (const { source, sourceBytes, bytes, head, headBytes } of groups) {
    fields.push(position, bytes, source, sourceBytes, head, headBytes)
    position += bytes
  }
  maker.append(bytesOf(Float64Array.from(fields)))
  appendTrailer(maker, position, groups.length, BLOCKS)
}

/** Decodes everything into the spool; why not, where that has no room. */
function spoolView(
  format: FrameFormat,
  key: IndexKey,
  backing: Backing,
  maker: IndexMaker,
  tick: () => void,
  spool: Spool,
): LensError | undefined {
  const target = spool.make(key)
  try {
    format.all(backing, bytes => target.append(bytes), tick)
    const { size } = target
    target.commit().close()
    appendTrailer(maker, size, 0, SPOOLED)
    return undefined
  } catch (error) {
    target.abandon()
    if (error instanceof LensError && error.code === 'unsupported') return error
    throw error
  }
}

function decodeHead(format: FrameFormat, backing: Backing, out: Uint8Array): number {
  let done = 0
  const sink = (bytes: Uint8Array): boolean => {
    const part = bytes.subarray(0, out.length - done)
    out.set(part, done)
    done += part.length
    return done < out.length
  }
  format.all(backing, sink, () => undefined)
  return done
}

function inlineView(format: FrameFormat, backing: Backing, maker: IndexMaker, tick: () => void): void {
  format.all(
    backing,
    bytes => {
      if (maker.size + bytes.length > INLINE)
        throw new LensError(
          'unsupported',
          format.lens,
          'it has no random access and is too large to be kept in memory; prepare it with a store that has a spool',
        )
      maker.append(bytes)
    },
    tick,
  )
  appendTrailer(maker, maker.size, 0, INLINED)
}

function makeIndex(
  format: FrameFormat,
  key: IndexKey,
  backing: Backing,
  maker: IndexMaker,
  tick: () => void,
  { spool }: IndexStore,
): void {
  let blocks: readonly Block[] | undefined
  if (format.quick > 0 || !spool) blocks = format.blocks(backing, tick)
  if (blocks && (!spool || blocks.every(({ bytes }) => bytes <= format.quick)))
    return listBlocks(format, blocks, maker)
  if (!spool) return inlineView(format, backing, maker, tick)
  const refused = spoolView(format, key, backing, maker, tick, spool)
  if (!refused) return
  blocks ??= format.blocks(backing, tick)
  if (!blocks) throw refused
  listBlocks(format, blocks, maker)
}

function openIndex(key: IndexKey, index: StoredIndex, store: IndexStore): Opened {
  const trailer = new Float64Array(TRAILER / 8)
  index.read(index.size - TRAILER, bytesOf(trailer))
  const [mark, size = 0, count = 0, how] = trailer
  if (mark !== MARK) throw new Error('not an index of frames')
  const blocks = new Float64Array(BLOCK_FIELDS * count)
  if (how === BLOCKS) index.read(0, bytesOf(blocks))
  const whole = how === SPOOLED ? store.spool?.find(key) : how === INLINED ? index : undefined
  if (how !== BLOCKS && (!whole || (how === SPOOLED && whole.size !== size)))
    throw new Error('the spooled view is gone')
  return { size, blocks, whole }
}

/** The number of the block that holds a position. */
function blockAt(blocks: Float64Array, position: number): number {
  let low = 0
  let high = blocks.length / BLOCK_FIELDS
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if ((blocks[BLOCK_FIELDS * middle] as number) <= position) low = middle
    else high = middle
  }
  return low
}

/** The lens of a format. */
export function frameLens(format: FrameFormat): Lens {
  const name = format.lens
  const keyOf = (backing: Backing): IndexKey => ({ identity: backing.identity, lens: name, version: VERSION })
  const indexed = new Indexed<Opened>({
    lens: name,
    version: VERSION,
    make: (backing, maker, tick, store) => makeIndex(format, keyOf(backing), backing, maker, tick, store),
    open: (backing, index, store) => openIndex(keyOf(backing), index, store),
    close: ({ whole }) => whole?.close(),
  })

  /** What a block makes, into `into` if it is not kept and is wanted from its start to its end: it is not kept then. */
  function decoded(backing: Backing, view: Opened, number: number, into?: Uint8Array): Uint8Array {
    const place = kept.findIndex(block => block.view === view && block.number === number)
    const found = place < 0 ? undefined : kept.splice(place, 1)[0]
    if (found) {
      kept.push(found)
      return found.bytes
    }
    const fields = view.blocks.subarray(BLOCK_FIELDS * number, BLOCK_FIELDS * (number + 1))
    const [, length = 0, source = 0, sourceBytes = 0, head = 0, headBytes = 0] = fields
    const bytes = into?.subarray(0, length) ?? new Uint8Array(length)
    format.block(backing, { source, sourceBytes, bytes: length, head, headBytes }, bytes)
    if (into === undefined) keep({ view, number, bytes })
    return bytes
  }

  function fill(backing: Backing, view: Opened, at: number, out: Uint8Array): void {
    if (view.whole) return view.whole.read(at, out)
    let number = blockAt(view.blocks, at)
    for (let done = 0; done < out.length; number++) {
      const from = at + done - (view.blocks[BLOCK_FIELDS * number] as number)
      const length = view.blocks[BLOCK_FIELDS * number + 1] as number
      const into = from === 0 && length <= out.length - done ? out.subarray(done) : undefined
      const part = decoded(backing, view, number, into).subarray(from, from + out.length - done)
      if (part.buffer !== out.buffer || part.byteOffset !== out.byteOffset + done) out.set(part, done)
      done += part.length
    }
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    indexed.use(backing, view => {
      const wanted = Math.max(0, Math.min(out.length, view.size - at))
      if (wanted > 0) fill(backing, view, at, wanted === out.length ? out : out.subarray(0, wanted))
      out.fill(0, wanted)
    })
  }

  return {
    name,
    size: backing => indexed.of(backing).size,
    head: (backing, out) => decodeHead(format, backing, out),
    get,
    suits: format.suits,
    prepare: (backing: Backing, store: IndexStore, pause?: () => void) =>
      indexed.prepare(backing, store, pause),
    close: backing => indexed.close(backing),
  }
}
