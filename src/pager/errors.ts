// What can go wrong in a pager. `journal`: it can't be written or read; `backing`: a file can't serve; `adopt`: the
// target was served by a predecessor and can't be taken over; `target`: it is gone or can't be served; `invariant`: a bug of ours.
export type PagerErrorCode = 'journal' | 'backing' | 'adopt' | 'target' | 'invariant'

/** A failure of the pager; `message` is one sentence that says what to do. Survives a trip between threads as {code, message}. */
export class PagerError extends Error {
  readonly code: PagerErrorCode
  constructor(code: PagerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PagerError'
    this.code = code
  }
}
