// The backings as the server has them: open, under a lease of the server's thread.
import * as fds from '../sys/fd.ts'
import { viewOf } from './holdings.ts'
import { breaking } from './lease.ts'
import type { ServerData } from './protocol.ts'
import type { OpenBacking } from './space.ts'

/** The signal by which the kernel tells that a lease is being broken. */
export const leaseSignal = 34

/** A backing that can serve; throws when its lens can't read it. */
export function openBacking(fd: number, path: string, lens: string | undefined): OpenBacking {
  return lens === undefined ? { fd, path } : { fd, path: `${path} (${lens})`, view: viewOf(fd, path, lens) }
}

/**
 * A backing of a predecessor. The lease has outlived its holder, because the open file lies in the park. If somebody wants to
 * write (`wanted`), he still waits (the kernel gives us 45 s in all): the bytes are what they were.
 */
export function adoptBacking({ path, fd, lens, lost }: ServerData['backings'][number]): {
  backing: OpenBacking
  wanted: boolean
} {
  let backing: OpenBacking = { fd, path }
  let why = lost
  if (why === undefined)
    try {
      backing = openBacking(fd, path, lens)
    } catch (error) {
      // Its pages fail loudly when they are touched; all others are served.
      why = `${path} can’t be read (${(error as Error).message})`
    }
  if (why !== undefined) backing.lost = why
  else if (fds.lease(fd, leaseSignal) < 0) {
    if (breaking(fd)) return { backing, wanted: true }
    backing.lost = `${path} was opened for writing while no pager held it`
  }
  return { backing, wanted: false }
}
