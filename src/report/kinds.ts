/** What pages are, and how that is shown everywhere on the page: names, colours, order. */
import type { AuditReport, PageTally } from '../audit/audit.ts'
import type { Pattern } from '../audit/patterns.ts'

export type Kind = keyof PageTally

export const kinds: readonly Kind[] = ['virtual', 'explained', 'zero', 'duplicate', 'unexplained']

export const kindNames: Readonly<Record<Kind, string>> = {
  virtual: 'Given back',
  explained: 'In files',
  zero: 'Zero',
  duplicate: 'Duplicate',
  unexplained: 'Unexplained',
}

export const kindTexts: Readonly<Record<Kind, string>> = {
  virtual: 'holds no memory now; made again on demand',
  explained: 'bytes of files; can be given back',
  zero: 'zeros; can be given back',
  duplicate: 'the same as another page of the process',
  unexplained: 'the program’s own',
}

export const kindColours: Readonly<Record<Kind, string>> = {
  virtual: 'var(--virtual)',
  explained: 'var(--c1)',
  zero: 'var(--c6)',
  duplicate: 'var(--c2)',
  unexplained: 'var(--rest)',
}

export const patternNames: Readonly<Record<Pattern, string>> = {
  aligned: 'Plain copy, aligned',
  shifted: 'Plain copy, shifted',
  widened: 'Other encoding',
  converted: 'Other number type',
  decompressed: 'Decompressed',
  parsed: 'Parsed numbers',
  columns: 'Columns and arrays',
  pieces: 'Pieces',
  packed: 'Packed',
}

/** One sentence on each: what happened, and what the program could do itself. */
export const patternAdvice: Readonly<Record<Pattern, string>> = {
  aligned: 'Whole pages of the file: mmap would share them with the page cache.',
  shifted: 'Read into a heap block, which begins some bytes into its page; mmap would have needed no copy.',
  widened: 'Text that the runtime keeps with two or four bytes a character.',
  converted: 'Numbers that were made wider or narrower while they were loaded.',
  decompressed: 'Kept unpacked; the packed file can make any part of it again.',
  parsed: 'Numbers that stand in a text file.',
  columns: 'Arrays that were taken out of a container format.',
  pieces: 'Parts of files between other things; what is left over is kept.',
  packed: 'In no file: compressed, and unpacked on demand.',
}

export const patternColours: Readonly<Record<Pattern, string>> = {
  aligned: 'var(--c6)',
  shifted: 'var(--c1)',
  widened: 'var(--c4)',
  converted: 'var(--c5)',
  decompressed: 'var(--c2)',
  parsed: 'var(--c3)',
  columns: 'var(--c7)',
  pieces: 'var(--c8)',
  packed: 'var(--soft)',
}

/** The same for what is in no file. */
export const kindAdvice: Readonly<Record<'zero' | 'duplicate' | 'unexplained', string>> = {
  zero: 'Allocated and cleared, or written with zeros: needs no file.',
  duplicate: 'Stands in the process more than once; KSM could merge it.',
  unexplained: 'Made by the program, or of files that nobody looked at: name them with --backing.',
}

export const hex = (address: number): string => address.toString(16)

/** A name for people: what the kernel calls it; anonymous memory goes by its address. */
export function mappingName({ name, start }: AuditReport['mappings'][number]): string {
  return name === '' ? hex(start) : name
}

/** A file without its folders. */
export const baseName = (path: string): string =>
  path === '' ? 'zeros' : path.slice(path.lastIndexOf('/') + 1)
