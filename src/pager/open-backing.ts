// The backings as the server has them: open, under a lease of the server's thread.
import * as fds from '../sys/fd.ts'
import { PagerError } from './errors.ts'
import { viewOf } from './holdings.ts'
import { breaking } from './lease.ts'
import type { ServedBacking, ServerData } from './protocol.ts'
import type { OpenBacking } from './space.ts'

/** A backing that can serve; throws when its lens can't read it, or one of its sources in `open` can't serve. */
export function openBacking(
  { fd, path, lens, sources }: ServedBacking,
  open: ReadonlyMap<number, OpenBacking>,
): OpenBacking {
  if (lens === undefined) return { fd, path }
  const views = sources?.map(index => {
    const source = open.get(index)
    if (source === undefined || source.lost !== undefined)
      throw new PagerError('backing', source?.lost ?? `backing ${index} is not open`)
    return source.view ?? viewOf(source.fd, source.path, undefined)
  })
  const view = viewOf(fd, path, lens, views)
  return { fd, path: `${path} (${lens})`, view, ...(sources === undefined ? {} : { sources }) }
}

/**
 * A backing of a predecessor. The lease has outlived its holder, because the open file lies in the park. If somebody wants to
 * write (`wanted`), he still waits (the kernel gives us 45 s in all): the bytes are what they were.
 */
export function adoptBacking(
  one: ServerData['backings'][number],
  open: ReadonlyMap<number, OpenBacking>,
): { backing: OpenBacking; wanted: boolean } {
  const { path, fd, lost } = one
  let backing: OpenBacking = { fd, path }
  let why = lost
  if (why === undefined)
    try {
      backing = openBacking(one, open)
    } catch (error) {
      // Its pages fail loudly when they are touched; all others are served.
      why = `${path} can’t be read (${(error as Error).message})`
    }
  if (why !== undefined) backing.lost = why
  else if (fds.lease(fd) < 0) {
    if (breaking(fd)) return { backing, wanted: true }
    backing.lost = `${path} was opened for writing while no pager held it`
  }
  return { backing, wanted: false }
}
