/** Where indexes are kept: the same folder that `lethe attach` uses, so that neither makes twice what the other has made. */
import { join } from 'node:path'
import { defaultCacheFolder } from '../explain/index-cache.ts'
import { FolderIndexStore, type IndexStore } from '../lens/index-store.ts'
import { Spool } from '../lens/spool.ts'

export { defaultCacheFolder }

const opened = new Map<string, IndexStore>()

/** The index store of a folder; one for each thread, which says by the first call whether it has the time to be thorough. */
export function storeIn(folder: string, thorough = false): IndexStore {
  const store =
    opened.get(folder) ??
    new FolderIndexStore(join(folder, 'lens'), undefined, new Spool(join(folder, 'spool')), thorough)
  opened.set(folder, store)
  return store
}
