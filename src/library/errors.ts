/** What can go wrong in the library and is nobody's mistake of ours: one class, with stable codes. */
import { BackingError, type BackingErrorCode } from '../backing/backing.ts'
import { LensError, type LensErrorCode } from '../lens/errors.ts'

/**
 * option     an option or argument that is not one
 * budget     the budget is too small for what is asked
 * pending    the first scan of a lazy region goes on
 * closed     the memory or region is closed
 * changed    the backing is not what it was when it was mapped
 * readonly   a write to a region of mode 'readonly'; it was undone
 * no-put     a lens without a way back was mapped with mode 'shared'
 * no-mmu     `array` where page faults can't be served; read, at and iteration work
 * spill      written pages can't be kept on disk; they stay in memory, over the budget
 * write-back the backing can't be written
 * internal   a bug of ours
 * and the codes of backings and lenses: not-found, denied, not-regular, too-many-open, range, io, corrupt, unsupported, …
 */
export type MemoryErrorCode =
  | 'option'
  | 'budget'
  | 'pending'
  | 'changed'
  | 'readonly'
  | 'no-put'
  | 'no-mmu'
  | 'spill'
  | 'write-back'
  | 'internal'
  | BackingErrorCode
  | LensErrorCode

/** `code` is stable; the message is one sentence with the offending value and what to do. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError'
  readonly code: MemoryErrorCode

  constructor(code: MemoryErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** An error as it travels between threads. */
export interface PlainError {
  readonly code: MemoryErrorCode
  readonly message: string
}

/** Any error as a MemoryError; what we do not know is 'internal'. */
export function memoryError(error: unknown): MemoryError {
  if (error instanceof MemoryError) return error
  if (error instanceof LensError || error instanceof BackingError)
    return new MemoryError(error.code, error.message, error)
  const message = error instanceof Error ? error.message : String(error)
  return new MemoryError('internal', message, error)
}

export function plain(error: unknown): PlainError {
  const { code, message } = memoryError(error)
  return { code, message }
}

export const revived = ({ code, message }: PlainError): MemoryError => new MemoryError(code, message)
