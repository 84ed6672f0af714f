// What can go wrong with a target, by name. `refused`: it can't be served safely and is untouched; `gone`: it ended;
// `traced`: somebody else traces it; `lost`: it did not answer while we held it; `busy`: try again.
export type ProcessErrorCode = 'refused' | 'gone' | 'traced' | 'lost' | 'busy'

/** An expected failure on a target process. `message` is one sentence that says what to do. */
export class ProcessError extends Error {
  readonly code: ProcessErrorCode
  constructor(code: ProcessErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ProcessError'
    this.code = code
  }
}
