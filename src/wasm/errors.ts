/** What can be wrong with a module. */

/**
 * malformed: the bytes are not a module. invalid: a module that doesn't type-check, or names what isn't there.
 * unsupported: of a proposal that we don't read; the message names it.
 */
export type WasmErrorCode = 'malformed' | 'invalid' | 'unsupported'

/** `code` is stable; `offset` is the byte in the module where it went wrong. */
export class WasmError extends Error {
  override readonly name = 'WasmError'
  readonly code: WasmErrorCode
  readonly offset: number

  constructor(code: WasmErrorCode, offset: number, message: string) {
    super(
      `${code === 'unsupported' ? 'Unsupported' : code === 'invalid' ? 'Invalid' : 'Malformed'} WebAssembly at byte ${offset}: ${message}`,
    )
    this.code = code
    this.offset = offset
  }
}
