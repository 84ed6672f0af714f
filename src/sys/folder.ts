/** Folders of ours, whatever still writes into them. */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Removes a folder with all in it; nothing when it is not there. A process that is just ending may still make a file
 * between our look and our removal (ENOTEMPTY): then again, for half a second in all.
 */
export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 10 })
}

/** Removes the files of a folder whose time of change is the oldest, until there are no more than `limit` bytes. */
export function trimFolder(folder: string, limit: number): void {
  const files = readdirSync(folder).flatMap(name => {
    const path = join(folder, name)
    const stats = statSync(path, { throwIfNoEntry: false })
    return stats?.isFile() === true ? [{ path, size: stats.size, time: stats.mtimeMs }] : []
  })
  let total = files.reduce((sum, file) => sum + file.size, 0)
  for (const file of files.toSorted((a, b) => a.time - b.time)) {
    if (total <= limit) break
    rmSync(file.path, { force: true })
    total -= file.size
  }
}
