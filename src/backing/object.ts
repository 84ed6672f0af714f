/**
 * An object behind HTTP(S), in S3 or anywhere that does ranges, as a backing.
 *
 *   who reads ── {block, slot} ──> fetcher thread ── GET, Range, If-Match ──> server
 *             <── {block, error?} ──               the bytes go into the slot of a cache file that both have open
 *
 * The object's ETag is pinned when it is first opened: every request says If-Match, and every answer is compared, so that
 * an object that was replaced is an error ('changed'), never a mix. What fails for the moment is tried again. Blocks are kept in an
 * unlinked file of bounded size, the ones used last.
 *
 * `read` waits for what it needs; a thread that must not wait (the pager) sets `patient` to false, and gets a Pending instead:
 * it reads again when `arrived` says that something came.
 */
import { closeSync, readSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { type Backing, BackingError, type BackingErrorCode, type Hold, type Identity } from './backing.ts'
import { unlinkedFile } from './unlinked.ts'

export interface ObjectOptions {
  /** For requests that must be signed (S3). For s3: addresses taken from $AWS_… where they are not given. */
  readonly credentials?: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
  }
  /** Default: $AWS_REGION, or us-east-1. */
  readonly region?: string
  /** Of a service like S3, for s3: addresses: 'http://localhost:9000'. */
  readonly endpoint?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Bytes that one request asks for; default 1 MiB. */
  readonly block?: number
  /** Bytes of the cache on disk; default 256 MiB. */
  readonly cache?: number
  /** How often a request that fails for the moment is made again; default 4. */
  readonly retries?: number
  /** Milliseconds that an answer may take; default 30 000. */
  readonly timeout?: number
}

export interface ObjectAddress extends ObjectOptions {
  readonly url: string
}

/** What the fetcher is asked. Without a block: what the object is. */
export interface FetchRequest {
  readonly block: number
  readonly slot: number
}

export interface FetchReply {
  readonly block: number
  readonly bytes: number
  readonly stat?: { readonly size: number; readonly tag: string }
  readonly error?: { readonly code: BackingErrorCode; readonly message: string }
}

export interface FetcherData {
  readonly address: ObjectAddress
  readonly descriptor: number
  readonly block: number
  readonly port: MessagePort
  /** Counts answers; waited on. */
  readonly bell: SharedArrayBuffer
  /** What is known of the object already. */
  readonly tag: string | undefined
}

/** A read that can't be answered yet. */
export class Pending extends Error {
  override readonly name = 'Pending'
}

/** Whether an error says only that bytes are on their way. */
export function isPending(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) if (one instanceof Pending) return true
  return false
}

const STAT = -1
/** Blocks asked for ahead of one that follows the last. */
const AHEAD = 3

export class ObjectBacking implements Backing {
  readonly size: number
  readonly identity: Identity
  /** Whether `read` waits. */
  patient = true
  readonly #name: string
  readonly #block: number
  readonly #descriptor: number
  readonly #fetcher: Worker
  readonly #port: MessagePort
  readonly #bell = new Int32Array(new SharedArrayBuffer(4))
  readonly #slots: number
  /** Slot of each block that is there, the least recently used first; -1 while it is on its way. */
  readonly #blocks = new Map<number, number>()
  readonly #failed = new Map<number, BackingError>()
  readonly #free: number[]
  readonly #slotOf = new Map<number, number>()
  #coming = 0
  #last = -2
  #closed = false

  /** `identity`: what it was when it was first opened; without it the server is asked. */
  constructor(address: ObjectAddress, identity?: Identity) {
    this.#name = address.url
    this.#block = address.block ?? 2 ** 20
    this.#slots = Math.max(AHEAD + 1, Math.floor((address.cache ?? 2 ** 28) / this.#block))
    this.#free = Array.from({ length: this.#slots }, (_, i) => this.#slots - 1 - i)
    this.#descriptor = unlinkedFile()
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    const here = fileURLToPath(import.meta.url)
    const data: FetcherData = {
      address,
      descriptor: this.#descriptor,
      block: this.#block,
      port: port2,
      bell: this.#bell.buffer,
      tag: identity?.mtime,
    }
    this.#fetcher = new Worker(fileURLToPath(new URL(`./object-fetcher${here.slice(-3)}`, import.meta.url)), {
      workerData: data,
      transferList: [port2],
      execArgv: [],
      name: 'lethe fetcher',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    })
    this.#fetcher.unref()
    this.#fetcher.on('error', () => undefined)
    port1.unref()
    try {
      this.identity = identity ?? this.#stat()
    } catch (error) {
      this.close()
      throw error
    }
    this.size = this.identity.size
  }

  read(offset: number, into: Uint8Array): number {
    if (this.#closed) throw new BackingError('closed', this.#name, `The backing ${this.#name} is closed`)
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new BackingError(
        'range',
        this.#name,
        `Invalid offset ${offset} in a backing of ${this.size} bytes`,
      )
    const wanted = Math.max(0, Math.min(into.length, this.size - offset))
    const first = Math.floor(offset / this.#block)
    const end = Math.ceil((offset + wanted) / this.#block)
    this.#take()
    // All at once, so that they come at once.
    let missing = 0
    if (wanted > 0)
      for (let block = first; block < Math.min(end, first + this.#slots); block++)
        if (!this.#ask(block)) missing++
    if (missing > 0 && !this.patient) throw new Pending(this.#name)
    for (let block = first, done = 0; done < wanted; block++) {
      this.#await(block)
      const at = offset + done - block * this.#block
      const n = Math.min(wanted - done, this.#block - at)
      const slot = this.#blocks.get(block) as number
      if (readSync(this.#descriptor, into, done, n, slot * this.#block + at) !== n)
        throw new BackingError('io', this.#name, `The cache of ${this.#name} can't be read`)
      done += n
    }
    return wanted
  }

  /** Takes in what has come. Whether something came, or nothing is on its way. */
  arrived(): boolean {
    return this.#take() || this.#coming === 0
  }

  hold(): Hold {
    // The tag is pinned: bytes of another state are never taken.
    return { leased: true, release: () => undefined }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#port.postMessage('close')
    // What is being written to it keeps its own descriptor.
    closeSync(this.#descriptor)
  }

  #stat(): Identity {
    this.#send(STAT, 0)
    for (;;) {
      const reply = this.#next()
      if (reply.error !== undefined) throw this.#error(reply.error)
      if (reply.stat === undefined) continue
      this.#coming--
      const { size, tag } = reply.stat
      return { device: 'object', inode: this.#name, size, mtime: tag, ctime: '' }
    }
  }

  /** Asks for a block if it is not there. Whether it is there. */
  #ask(block: number): boolean {
    const failure = this.#failed.get(block)
    if (failure !== undefined) {
      this.#failed.delete(block)
      throw failure
    }
    const slot = this.#blocks.get(block)
    const sequential = block === this.#last + 1 || block === this.#last
    this.#last = block
    if (slot === undefined) this.#fetch(block)
    else if (slot >= 0) {
      this.#blocks.delete(block)
      this.#blocks.set(block, slot)
    }
    if (sequential)
      for (let next = block + 1; next <= block + AHEAD && next * this.#block < this.size; next++)
        if (!this.#blocks.has(next) && !this.#failed.has(next) && this.#coming < this.#slots - 1)
          this.#fetch(next)
    return slot !== undefined && slot >= 0
  }

  #fetch(block: number): void {
    let slot = this.#free.pop()
    while (slot === undefined) {
      for (const [old, taken] of this.#blocks) {
        if (taken < 0) continue
        this.#blocks.delete(old)
        slot = taken
        break
      }
      // All slots are on their way.
      if (slot === undefined) this.#settle(this.#next())
    }
    this.#blocks.set(block, -1)
    this.#slotOf.set(block, slot)
    this.#send(block, slot)
  }

  #await(block: number): void {
    while ((this.#blocks.get(block) ?? -1) < 0) {
      if (!this.#blocks.has(block)) this.#ask(block)
      this.#settle(this.#next())
    }
  }

  #send(block: number, slot: number): void {
    this.#coming++
    this.#port.postMessage({ block, slot } satisfies FetchRequest)
  }

  #take(): boolean {
    let some = false
    for (;;) {
      const got = receiveMessageOnPort(this.#port) as { message: FetchReply } | undefined
      if (got === undefined) return some
      some = true
      this.#settle(got.message)
    }
  }

  // Waits for the next answer.
  #next(): FetchReply {
    for (;;) {
      const rung = Atomics.load(this.#bell, 0)
      const got = receiveMessageOnPort(this.#port) as { message: FetchReply } | undefined
      if (got !== undefined) return got.message
      Atomics.wait(this.#bell, 0, rung, 1000)
    }
  }

  #settle({ block, error }: FetchReply): void {
    this.#coming--
    const slot = this.#slotOf.get(block) as number
    this.#slotOf.delete(block)
    if (error === undefined) {
      this.#blocks.delete(block)
      this.#blocks.set(block, slot)
      return
    }
    this.#blocks.delete(block)
    this.#free.push(slot)
    this.#failed.set(block, this.#error(error))
  }

  #error({ code, message }: NonNullable<FetchReply['error']>): BackingError {
    return new BackingError(code, this.#name, message)
  }
}
