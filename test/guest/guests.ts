// Guests for the tests: our own C programs, compiled by clang for WASI, and a run of each through the command line.
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeFolder } from '../../src/sys/folder.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lethe-guests-'))
process.on('exit', () => removeFolder(folder))

const compiler = ['clang', 'clang-14', 'clang-19'].find(
  name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
)

/** Why guests can't be compiled here; undefined where they can. */
export const whyNoGuests: string | undefined =
  compiler === undefined
    ? 'there is no clang'
    : existsSync('/usr/lib/wasm32-wasi/libc.a')
      ? undefined
      : 'there is no wasi-libc'

/** The path of test/guests/NAME.c, compiled. Linked without -O: clang would have wasm-opt take the names away. */
export function guest(name: string, ...flags: string[]): string {
  const wasm = join(folder, `${name}${flags.join('')}.wasm`)
  if (existsSync(wasm)) return wasm
  mkdirSync(dirname(wasm), { recursive: true })
  const object = `${wasm}.o`
  const target = '--target=wasm32-wasi'
  const steps = [
    [target, '-O2', '-w', '-c', join(root, 'test/guests', `${name}.c`), '-o', object],
    [target, object, '-o', wasm, ...flags],
  ]
  for (const step of steps) {
    const { status, stderr } = spawnSync(compiler as string, step, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`clang: ${stderr}`)
  }
  return wasm
}

export const launcher: string = join(root, 'bin/lethe')

/** Runs `lethe run ARGS`. */
export function lethe(args: readonly string[], input = ''): SpawnSyncReturns<string> {
  return spawnSync(launcher, ['run', ...args], { encoding: 'utf8', input, timeout: 60_000 })
}
