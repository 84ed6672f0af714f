/** Folders of ours, whatever still writes into them. */
import { rmSync } from 'node:fs'

/**
 * Removes a folder with all in it; nothing when it is not there. A process that is just ending may still make a file
 * between our look and our removal (ENOTEMPTY): then again, for half a second in all.
 */
export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 10 })
}
