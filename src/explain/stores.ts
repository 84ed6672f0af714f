/** Where the search keeps what it learns of files, so that the next search, and the pager, find it. */
import { join } from 'node:path'
import { FolderIndexStore, type IndexStore, MemoryIndexStore } from '../lens/index-store.ts'
import { Spool } from '../lens/spool.ts'
import { defaultCacheFolder } from './index-cache.ts'

/** Where lenses keep their indexes, so that a pager finds what a search has made. */
export function indexStore(folder: string | false = defaultCacheFolder()): IndexStore {
  if (folder === false) return new MemoryIndexStore()
  return new FolderIndexStore(join(folder, 'lens'), undefined, new Spool(join(folder, 'spool')))
}
