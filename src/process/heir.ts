// Who has our descriptors when the target has ended: a child inherits them with everything else.
import { readdirSync, readlinkSync } from 'node:fs'

/** Inode of a process's socket `fd`; 0 when that is none. */
export function parkInode(pid: number | string, fd: number): number {
  try {
    return Number(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** A process whose descriptor `park.fd` is the socket `park.inode`. */
export function heir(park: { fd: number; inode: number }): number | undefined {
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name) && Number(name) !== process.pid && parkInode(name, park.fd) === park.inode)
      return Number(name)
  return undefined
}
