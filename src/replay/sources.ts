/**
 * The files whose bytes epochs refer to. Each is held under a read lease: who opens one for writing, or truncates it, waits until
 * we have copied it to an unlinked file of ours, which takes its place. A file that we get no lease on is copied at once.
 * Whether the bytes are still those that the guest read is not asked here: the pages made of them are compared.
 */
import { closeSync, fstatSync, readSync, writeSync } from 'node:fs'
import { unlinkedFile } from '../backing/unlinked.ts'
import * as fds from '../sys/fd.ts'

const slice = 2 ** 20

interface Source {
  readonly fd: number
  /** Ours alone. */
  own: boolean
}

export class Sources {
  /** Readable when somebody wants to write one of the files. */
  readonly descriptor: number = fds.leaseBreaks()
  readonly #sources = new Map<number, Source>()
  /** Files that were copied, and for how many of them somebody waited. */
  copied = 0
  broken = 0

  add(id: number, fd: number): void {
    const source: Source = { fd, own: false }
    this.#sources.set(id, source)
    if (fds.lease(fd) !== 0) this.#copy(source)
  }

  /** All of the bytes, or it throws. */
  read = (id: number, offset: number, into: Uint8Array): void => {
    const source = this.#sources.get(id)
    if (source === undefined) throw new RangeError(`no source ${id}`)
    for (let done = 0; done < into.length; ) {
      const n = readSync(source.fd, into, done, into.length - done, offset + done)
      if (n === 0) throw new RangeError('the file is shorter than it was')
      done += n
    }
  }

  /** The descriptor was readable. */
  look(): void {
    while (fds.readSignal(this.descriptor) !== undefined);
    for (const source of this.#sources.values()) {
      if (source.own || fds.leased(source.fd)) continue
      this.broken++
      this.#copy(source)
    }
  }

  // The descriptor becomes one of the copy; the last one of the leased file goes, and the lease with it.
  #copy(source: Source): void {
    const into = unlinkedFile()
    const buffer = new Uint8Array(slice)
    const { size } = fstatSync(source.fd)
    for (let at = 0; at < size; ) {
      const n = readSync(source.fd, buffer, 0, slice, at)
      if (n === 0) break
      for (let done = 0; done < n; ) done += writeSync(into, buffer, done, n - done, at + done)
      at += n
    }
    fds.replace(into, source.fd)
    closeSync(into)
    source.own = true
    this.copied++
  }
}
