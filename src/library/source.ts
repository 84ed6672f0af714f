/**
 * Sources: what `map` takes. A source says how a backing is opened and which lenses it is seen through, in plain data, so
 * that each thread that needs the bytes opens them for itself.
 */
import { resolve } from 'node:path'
import type { Backing, Identity } from '../backing/backing.ts'
import { BytesBacking } from '../backing/bytes.ts'
import { FileBacking, type TakeLease } from '../backing/file.ts'
import { ObjectBacking, type ObjectAddress, type ObjectOptions } from '../backing/object.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { type Element, elementOf, type TypedLens } from '../lens/element.ts'
import { MemoryIndexStore } from '../lens/index-store.ts'
import type { IndexStore, Lens } from '../lens/lens.ts'
import { prepareBelow, through, type View } from '../lens/through.ts'
import { MemoryError } from './errors.ts'

export type Origin =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'bytes'; readonly buffer: SharedArrayBuffer; readonly id: string }
  | { readonly kind: 'object'; readonly address: ObjectAddress }

/** A source as it travels between threads. */
export interface SourceData {
  readonly origin: Origin
  /** Names of lenses, the innermost first. */
  readonly lenses: readonly string[]
}

/** Bytes that can be had again, perhaps through lenses: elements of `E`. Opens nothing by itself. */
export class Source<E extends Element = Element> {
  readonly data: SourceData
  readonly element: E

  constructor(data: SourceData, element: E) {
    this.data = data
    this.element = element
  }

  /** What `lens` makes of these bytes, as a source. */
  through<F extends Element>(lens: TypedLens<F>): Source<F>
  through(lens: Lens): Source
  through(lens: Lens): Source {
    if (typeof (lens as Lens | undefined)?.get !== 'function')
      throw new MemoryError('option', `through: '${String(lens)}' is no lens; give one, such as gunzip()`)
    return new Source({ ...this.data, lenses: [...this.data.lenses, lens.name] }, elementOf(lens))
  }
}

/** A regular file. A relative path is taken from the working directory of now. */
export function file(path: string): Source<'u8'> {
  if (typeof path !== 'string')
    throw new MemoryError('option', `file: '${String(path)}' is no path; give a text`)
  return new Source({ origin: { kind: 'file', path: resolve(path) }, lenses: [] }, 'u8')
}

/** An object behind HTTP(S), or s3://bucket/key. The server must do ranges. */
export function object(url: string, options: ObjectOptions = {}): Source<'u8'> {
  if (!/^(?:https?|s3):$/.test(URL.parse(url)?.protocol ?? ''))
    throw new MemoryError('option', `object: '${url}' is no address; give one of https://, http:// or s3://`)
  return new Source({ origin: { kind: 'object', address: { ...options, url } }, lenses: [] }, 'u8')
}

let made = 0

/** Bytes in memory, as they are now: a copy is kept for as long as something is mapped on them. */
export function bytes(from: Uint8Array): Source<'u8'> {
  const buffer = new SharedArrayBuffer(from.length)
  new Uint8Array(buffer).set(from)
  const id = `${process.pid}.${++made}.${Date.now()}`
  return new Source({ origin: { kind: 'bytes', buffer, id }, lenses: [] }, 'u8')
}

/** A source that has been opened by this thread. */
export interface Opened {
  /** The file, bytes or object itself. */
  readonly origin: Backing
  /** What the lenses make of it. */
  readonly view: Backing
  /** What each lens makes, the innermost first. */
  readonly steps: readonly View[]
}

function openOrigin(origin: Origin, { lease, known }: OpenOptions): Backing {
  switch (origin.kind) {
    case 'file':
      return new FileBacking(origin.path, lease === undefined ? {} : { lease })
    case 'bytes':
      return new BytesBacking(origin.id, new Uint8Array(origin.buffer))
    case 'object':
      return new ObjectBacking(origin.address, known)
  }
}

/** How an error speaks of a source. */
export function nameOf({ origin, lenses }: SourceData): string {
  const name =
    origin.kind === 'file'
      ? origin.path
      : origin.kind === 'object'
        ? origin.address.url
        : `${origin.buffer.byteLength} bytes of memory`
  return lenses.length === 0 ? name : `${name} (${lenses.join('|')})`
}

export interface OpenOptions {
  /** Puts itself between the origin and the lenses. */
  readonly watch?: (origin: Backing) => Backing
  /** How a file is held. */
  readonly lease?: TakeLease
  /** What the origin was when it was first opened: an object is not asked again. */
  readonly known?: Identity
}

export function open(data: SourceData, options: OpenOptions = {}): Opened {
  const origin = openOrigin(data.origin, options)
  let view = options.watch?.(origin) ?? origin
  const steps: View[] = []
  for (const name of data.lenses) {
    const made = through(view, lensNamed(name))
    steps.push(made)
    view = made
  }
  return { origin, view, steps }
}

/** Makes the indexes that the lenses need, or takes them from the store. */
export function prepare({ steps }: Opened, store: IndexStore, pause?: () => void): void {
  for (const { view, above } of passes(steps))
    if (above) prepareBelow(view, above.lens, store, pause)
    else view.lens.prepare?.(view.backing, store, pause)
}

/** Passes over the bytes that `prepare` makes at most: of one view, or of two in one. */
export function passes(steps: readonly View[]): { readonly view: View; readonly above?: View }[] {
  const found: { view: View; above?: View }[] = []
  for (let i = 0; i < steps.length; i++) {
    const view = steps[i] as View
    const above = steps[i + 1]
    if (above?.lens.prepare && view.lens.begin) {
      found.push({ view, above })
      i++
    } else if (view.lens.prepare) found.push({ view })
  }
  return found
}

/** For a look at the first elements before anything is indexed: what has to be decoded in order is so only as far as is asked for. */
export function preview({ steps }: Opened): void {
  for (const view of steps) {
    const { lens, backing } = view
    if (lens.begin) view.share(() => lens.begin?.(backing, new MemoryIndexStore()), { restarting: true })
  }
}

/** Whether opening it can take a pass over the bytes, or a request. */
export const needsScan = (data: SourceData): boolean =>
  data.origin.kind === 'object' || data.lenses.some(name => lensNamed(name).prepare !== undefined)

/** What a source was when it was first opened: whoever opens it again compares. */
export interface Seen {
  readonly identity: Identity
  /** Bytes that the lenses make. */
  readonly size: number
}
