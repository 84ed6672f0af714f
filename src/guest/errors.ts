/** What can go wrong with a guest and is nobody's mistake in Lethe. */

/**
 * module: the file can't be loaded as a module that we can run.
 * imports: it needs functions that nobody gives it.
 * option: an option that does not fit this guest.
 * impossible: this machine can't do it.
 */
export type GuestErrorCode = 'module' | 'imports' | 'option' | 'impossible'

/** `code` is stable; the message says what, with the offending value, and what to do. */
export class GuestError extends Error {
  override readonly name = 'GuestError'
  readonly code: GuestErrorCode

  constructor(code: GuestErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
