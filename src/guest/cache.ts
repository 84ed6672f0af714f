// What is made of guests once and kept from run to run: rewritten modules, machine code, what replay knows of a program. Each is made
// again when it is not there, so that any of it may go at any time; what was used least lately goes when there is too much.
import { join } from 'node:path'
import { fs, load, os } from './node.ts'

/** Bytes that may lie here. */
const limit = 2 ** 29

/** Where it lies: $XDG_CACHE_HOME/lethe/wasm, or below ~/.cache. */
export function cacheDirectory(): string {
  const home = process.env['XDG_CACHE_HOME']
  return join(home === undefined || home === '' ? join(os().homedir(), '.cache') : home, 'lethe', 'wasm')
}

/** What is kept under a name; undefined when it is not there. */
export function kept(name: string): Buffer | undefined {
  const file = join(cacheDirectory(), name)
  try {
    const bytes = fs.readFileSync(file)
    used(file)
    return bytes
  } catch {
    return undefined
  }
}

/** A file of the cache has been used. */
export function used(file: string): void {
  const now = Date.now() / 1000
  try {
    fs.utimesSync(file, now, now)
  } catch {
    // It is somebody else's, or gone.
  }
}

/** Keeps bytes under a name, for us alone to write. A cache that can't be written is none. */
export function keep(name: string, bytes: Uint8Array | string): void {
  const folder = cacheDirectory()
  const part = join(folder, `${name}.${process.pid}`)
  try {
    fs.mkdirSync(folder, { recursive: true })
  } catch {
    return
  }
  try {
    fs.writeFileSync(part, bytes, { mode: 0o600 })
    fs.renameSync(part, join(folder, name))
    const { trimFolder } = load(import.meta.url, '../sys/folder') as typeof import('../sys/folder.ts')
    trimFolder(folder, limit)
  } catch {
    fs.rmSync(part, { force: true })
  }
}
