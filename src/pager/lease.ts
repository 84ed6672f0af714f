// Whether the bytes of an open file are what they were, by its lease.
import { fstatSync, readFileSync } from 'node:fs'
import * as fds from '../sys/fd.ts'

/** Whether somebody waits for our lease on this file to be let go. */
export function breaking(fd: number): boolean {
  const inode = fstatSync(fd).ino
  return readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .some(line => /LEASE\s+BREAKING/.test(line) && line.includes(`:${inode} `))
}

/** Whether the lease has kept writers out until now: then an identity may differ (an unlink changes the ctime), the bytes don't. */
export const unwritten = (fd: number): boolean => fds.leased(fd) || breaking(fd)
