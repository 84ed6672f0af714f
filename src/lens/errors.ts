/** What can go wrong with a lens and is nobody's mistake. */

/**
 * corrupt: the backing is not what the lens reads (or the part in question is damaged).
 * unsupported: no such lens, or a variant of a format that we can't read.
 * range: a position or a parameter that is not one.
 * io: the index could not be had.
 * impure: a lens of the user's own depends on something else than its backing.
 */
export type LensErrorCode = 'corrupt' | 'unsupported' | 'range' | 'io' | 'impure'

/** `code` is stable; `lens` is the lens's name; `offset` is where in the backing, if that can be said. */
export class LensError extends Error {
  override readonly name = 'LensError'
  readonly code: LensErrorCode
  readonly lens: string
  readonly offset: number | undefined

  constructor(code: LensErrorCode, lens: string, message: string, offset?: number, cause?: unknown) {
    const where = offset === undefined ? '' : ` at byte ${offset}`
    super(`${lens}${where}: ${message}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.lens = lens
    this.offset = offset
  }
}
