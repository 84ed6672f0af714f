// Private copies of files that are open for writing. Such a file can change at any time, and the kernel gives no lease on it;
// a database is the usual case: its pages lie in memory as they lie in the file, and the file stays open. So what
// memory is compared with, and made of, is a copy: on disk, without a name, shared block by block where the file system can.
import { closeSync, constants, fstatSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { defaultCacheFolder } from '../explain/index-cache.ts'

/** File systems that are memory themselves, by their magic numbers (linux/magic.h): a copy there would save nothing. */
const inMemory = new Set([0x01021994, 0x858458f6])
/** Memory that must depend on a file before it is copied, in bytes, and as a share of the file. */
const least = 4 << 20
const leastShare = 1 / 8
/** Bytes of the disk that stay free. */
const spare = 1 << 30
let made = 0

/**
 * Copies an open file because `dependent` bytes of memory are made of it. An open descriptor of the copy, read-only, or
 * why there is none.
 */
export async function privateCopy(fd: number, dependent: number): Promise<number | string> {
  const { size } = fstatSync(fd)
  if (dependent < least || dependent < size * leastShare) return 'too little of it is in memory for a copy'
  for (const folder of [join(defaultCacheFolder(), 'copies'), '/var/tmp']) {
    const path = join(folder, `lethe-${process.pid}-${++made}`)
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const disk = statfsSync(folder)
      if (inMemory.has(disk.type) || disk.bavail * disk.bsize < size + spare) continue
      // Made by us, so that nobody else can read it, and not by copyFile with the mode of the original.
      closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600))
      await copyFile(`/proc/self/fd/${fd}`, path, constants.COPYFILE_FICLONE)
      return openSync(path, constants.O_RDONLY)
    } catch {
      // No room, or no right to write there: the next folder.
    } finally {
      rmSync(path, { force: true })
    }
  }
  return 'no disk has room for a copy'
}
