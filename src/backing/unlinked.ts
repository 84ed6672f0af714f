/** Files of ours without a name: they are gone with the last descriptor, however we end. */
import { mkdtempSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeFolder } from '../sys/folder.ts'

/** Where they lie: $LETHE_SPILL, or the system's folder for such. */
export const unlinkedFolder = (): string => process.env.LETHE_SPILL ?? tmpdir()

/** A new one, open for both. */
export function unlinkedFile(): number {
  const made = mkdtempSync(join(unlinkedFolder(), 'lethe-spill-'))
  try {
    return openSync(join(made, 'pages'), 'wx+', 0o600)
  } finally {
    removeFolder(made)
  }
}
