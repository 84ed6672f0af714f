// The error numbers of WASI preview 1, and which of them a host's error is.

/** `errno` of wasi_snapshot_preview1, as far as anything here answers it. */
export const errno = {
  success: 0,
  toobig: 1,
  acces: 2,
  again: 6,
  badf: 8,
  busy: 10,
  dquot: 19,
  exist: 20,
  fault: 21,
  fbig: 22,
  ilseq: 25,
  intr: 27,
  inval: 28,
  io: 29,
  isdir: 31,
  loop: 32,
  mfile: 33,
  mlink: 34,
  nametoolong: 37,
  nfile: 41,
  nodev: 43,
  noent: 44,
  nolck: 46,
  nomem: 48,
  nospc: 51,
  nosys: 52,
  notconn: 53,
  notdir: 54,
  notempty: 55,
  notsock: 57,
  notsup: 58,
  notty: 59,
  nxio: 60,
  overflow: 61,
  perm: 63,
  pipe: 64,
  range: 68,
  rofs: 69,
  spipe: 70,
  timedout: 73,
  txtbsy: 74,
  xdev: 75,
  notcapable: 76,
} as const

/** An ending of a call that the guest gets to see. */
export class Refusal extends Error {
  readonly errno: number
  constructor(number: number) {
    super(`errno ${number}`)
    this.errno = number
  }
}

const byCode: Readonly<Record<string, number>> = {
  E2BIG: errno.toobig,
  EACCES: errno.acces,
  EAGAIN: errno.again,
  EBADF: errno.badf,
  EBUSY: errno.busy,
  EDQUOT: errno.dquot,
  EEXIST: errno.exist,
  EFAULT: errno.fault,
  EFBIG: errno.fbig,
  EINTR: errno.intr,
  EINVAL: errno.inval,
  EIO: errno.io,
  EISDIR: errno.isdir,
  ELOOP: errno.loop,
  EMFILE: errno.mfile,
  EMLINK: errno.mlink,
  ENAMETOOLONG: errno.nametoolong,
  ENFILE: errno.nfile,
  ENODEV: errno.nodev,
  ENOENT: errno.noent,
  ENOLCK: errno.nolck,
  ENOMEM: errno.nomem,
  ENOSPC: errno.nospc,
  ENOSYS: errno.nosys,
  ENOTCONN: errno.notconn,
  ENOTDIR: errno.notdir,
  ENOTEMPTY: errno.notempty,
  ENOTSOCK: errno.notsock,
  ENOTSUP: errno.notsup,
  EOPNOTSUPP: errno.notsup,
  ENOTTY: errno.notty,
  ENXIO: errno.nxio,
  EOVERFLOW: errno.overflow,
  EPERM: errno.perm,
  EPIPE: errno.pipe,
  EROFS: errno.rofs,
  ESPIPE: errno.spipe,
  ETIMEDOUT: errno.timedout,
  ETXTBSY: errno.txtbsy,
  EXDEV: errno.xdev,
}

/** The number for an error of `node:fs`, of ours, or of a typed array that was left. Undefined for what is none of these. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof Refusal) return error.errno
  if (error instanceof RangeError) return errno.fault
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (code === undefined) return undefined
  return byCode[code] ?? (code.startsWith('ERR_') ? errno.inval : undefined)
}
