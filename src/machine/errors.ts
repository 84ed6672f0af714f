/** What can be wrong with a machine's description, its state or a trace, and is nobody's mistake but the writer's. */

/**
 * config: the parameters do not make a machine. state: tables that do not fit the machine. trace: a record that
 * can't be read. range: an address that the machine does not have. memory: no frame, no swap slot is left.
 * process: no such process, or an operation that it does not allow.
 */
export type MachineErrorCode = 'config' | 'state' | 'trace' | 'range' | 'memory' | 'process'

/** `code` is stable; `message` is one sentence: what, the offending value, what to do. */
export class MachineError extends Error {
  override readonly name = 'MachineError'
  readonly code: MachineErrorCode

  constructor(code: MachineErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** 0x2f. */
export const hex = (n: number, digits = 1): string => `0x${n.toString(16).padStart(digits, '0')}`
