// Errors of the kernel by name. A system call of `sys/` either returns its result, or a negative errno that the
// caller is expected to look at (`-EAGAIN`), or throws a SysError that names the call and the error.
import { constants } from 'node:os'

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, n]) => [n, name]))

/** The name of an errno, such as `EAGAIN`; `E123` for one that Node has no name for. */
export function errnoName(errno: number): string {
  return names.get(Math.abs(errno)) ?? `E${Math.abs(errno)}`
}

export const EPERM: number = constants.errno.EPERM
export const ENOENT: number = constants.errno.ENOENT
export const ESRCH: number = constants.errno.ESRCH
export const EINTR: number = constants.errno.EINTR
export const EIO: number = constants.errno.EIO
export const EAGAIN: number = constants.errno.EAGAIN
export const ENOMEM: number = constants.errno.ENOMEM
export const EFAULT: number = constants.errno.EFAULT
export const EBUSY: number = constants.errno.EBUSY
export const EEXIST: number = constants.errno.EEXIST
export const EINVAL: number = constants.errno.EINVAL
export const ENOSPC: number = constants.errno.ENOSPC
export const ECHILD: number = constants.errno.ECHILD

/** A system call that failed: `code` is the kernel's name for it (`EPERM`), `call` the call. */
export class SysError extends Error {
  readonly code: string
  readonly call: string
  constructor(code: string, call: string, message?: string) {
    super(message ?? `${call}: ${code}`)
    this.name = 'SysError'
    this.code = code
    this.call = call
  }
}

/** Returns `result`, or throws the SysError that a negative one stands for. */
export function must(result: number, call: string): number {
  if (result < 0) throw new SysError(errnoName(result), call)
  return result
}
