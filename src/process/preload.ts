/** Small libraries in C that are preloaded into programs: compiled once for each version of their sources, kept in the cache. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'

/** A library could not be compiled. `message` is one sentence that says what to do. */
export class PreloadError extends Error {
  override readonly name = 'PreloadError'
  readonly code = 'no-compiler'
}

/** Compiles `sources[0]`, which may include the others, if that has not been done; the library's path. Throws PreloadError. */
export function preloadLibrary(name: string, sources: readonly string[]): string {
  const hash = createHash('sha256')
  for (const source of sources) hash.update(readFileSync(source)).update('\0')
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(userInfo().homedir, '.cache'), 'lethe')
  const path = join(folder, `${name}-${hash.digest('hex').slice(0, 16)}.so`)
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const part = `${path}.${process.pid}`
  const words = ['-O2', '-shared', '-fPIC', '-o', part, sources[0] ?? '', '-ldl', '-lpthread']
  const done = spawnSync('cc', words, { encoding: 'utf8', timeout: 60_000 })
  if (done.error !== undefined)
    throw new PreloadError(
      'The recorder must be compiled once, and there is no C compiler (cc); install gcc or clang',
    )
  if (done.status !== 0)
    throw new PreloadError(`The recorder does not compile here: ${done.stderr.trim().split('\n')[0]}`)
  renameSync(part, path)
  return path
}

/** The environment in which a library is preloaded, before others. */
export const preloading = (library: string): NodeJS.ProcessEnv => ({
  ...process.env,
  LD_PRELOAD: [library, process.env['LD_PRELOAD']].filter(Boolean).join(':'),
})
