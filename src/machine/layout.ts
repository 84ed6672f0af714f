/**
 * A new process as the lecture lays it out, from low addresses to high ones: text, data, bss and heap behind each other; libraries and mappings
 * from a quarter of the address space on; the stack below three quarters, growing down; the kernel above, which users can't touch.
 */
import type { AddressSpaces } from './address-spaces.ts'
import type { Source } from './disk.ts'
import type { Process, Protection } from './process.ts'

/** What a new process is loaded with. Numbers are sizes in bytes, of zeros. */
export interface Image {
  readonly text?: number | Source
  readonly data?: Uint8Array | Source
  readonly bss?: number
  readonly heap?: number
  /** Most that the stack may grow to. */
  readonly stack?: number
  /** Shared libraries: their code is in memory once. */
  readonly libraries?: readonly Source[]
}

const everything: Protection = { read: true, write: true, execute: true }

/** Gives a process that has nothing its text, data, bss, heap, stack and libraries. */
export function layOut(spaces: AddressSpaces, process: Process, image: Image): void {
  const { pageSize, virtualBits } = spaces.config
  const V = 2 ** virtualBits
  const up = (bytes: number): number => Math.ceil(bytes / pageSize) * pageSize
  let at = up(V / 32)
  const put = (what: string, bytes: number, rights: Partial<Protection>, source?: Source): void => {
    if (bytes === 0) return
    process.add({
      start: at,
      end: at + up(bytes),
      name: what,
      read: true,
      write: false,
      execute: false,
      ...rights,
      shared: false,
      offset: 0,
      ...(source === undefined ? {} : { source }),
    })
    at += up(bytes)
  }
  const { text = pageSize, data, bss = 0, heap = 0, libraries = [] } = image
  if (typeof text === 'number') put('text', text, { execute: true })
  else put('text', text.backing.size, { execute: true }, text)
  const dataSource = data instanceof Uint8Array ? spaces.file(`${process.name}, data`, data) : data
  if (dataSource !== undefined) put('data', dataSource.backing.size, { write: true }, dataSource)
  put('bss', bss, { write: true })
  process.heap = { start: at, end: at }
  if (heap > 0) spaces.brk(process, at + heap)
  const top = up((V * 3) / 4)
  const most = Math.max(pageSize, up(image.stack ?? V / 16))
  process.add({
    start: top - pageSize,
    end: top,
    name: 'stack',
    ...everything,
    execute: false,
    shared: false,
    offset: 0,
    growsTo: top - most,
  })
  process.add({
    start: top,
    end: V,
    name: 'kernel',
    ...everything,
    shared: false,
    offset: 0,
    kernel: true,
  })
  for (const library of libraries)
    spaces.mmap(process, {
      length: library.backing.size,
      name: library.name,
      source: library,
      protection: { write: false, execute: true },
    })
}
