/** C programs of our own under test/guests, compiled for WASI when they are asked for. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { check, type CheckOptions, type CheckResult } from '../../src/check/index.ts'
import { type Guest, load } from '../../src/guest/load.ts'
import { root } from '../cli-helpers.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-check-'))
process.on('exit', () => removeFolder(folder))
process.env['XDG_CACHE_HOME'] = join(folder, 'cache')

/** Why nothing can be compiled here; undefined when it can. */
export function cannotCompile(): string | undefined {
  const { status } = spawnSync(
    'clang',
    ['--target=wasm32-wasi', '-x', 'c', '-', '-o', join(folder, 'probe.wasm')],
    { input: 'int main(void) { return 0; }' },
  )
  return status === 0 ? undefined : 'no clang with wasi-libc and lld'
}

const made = new Map<string, Guest>()

/** The guest of a source file below the repository's root. */
export function compiled(source: string, ...flags: string[]): Guest {
  const key = [source, ...flags].join(' ')
  const known = made.get(key)
  if (known !== undefined) return known
  const out = join(folder, `${basename(source)}-${made.size}.wasm`)
  const words = ['--target=wasm32-wasi', '-g', '-w', ...flags, join(root, source), '-o', out]
  const { status, stderr } = spawnSync('clang', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${source} does not compile:\n${stderr}`)
  const guest = load(out)
  made.set(key, guest)
  return guest
}

/** The guest of a source that was optimised when it was compiled, not when it was linked: names stay. */
export function optimised(source: string, level: string): Guest {
  const key = `${source} ${level} -c`
  const known = made.get(key)
  if (known !== undefined) return known
  const object = join(folder, `${basename(source)}-${made.size}.o`)
  run('clang', '--target=wasm32-wasi', '-g', '-w', level, '-c', join(root, source), '-o', object)
  const out = object.replace(/o$/, 'wasm')
  run('clang', '--target=wasm32-wasi', object, '-o', out)
  const guest = load(out)
  made.set(key, guest)
  return guest
}

/** The guest of a source that went through wasm-opt, without names. */
export function stripped(source: string): Guest {
  const plain = join(folder, `${basename(source)}-${made.size}-0.wasm`)
  run('clang', '--target=wasm32-wasi', '-mbulk-memory', '-w', '-O0', join(root, source), '-o', plain)
  const out = plain.replace('-0.', '-3.')
  run(
    join(root, 'node_modules/.bin/wasm-opt'),
    '-O3',
    '--enable-bulk-memory',
    '--strip-debug',
    plain,
    '-o',
    out,
  )
  return load(out)
}

/** The path of a library for JavaScript: no start, its functions and malloc exported. */
export function library(source: string, level: string): string {
  const out = join(folder, `${basename(source)}${level}.wasm`)
  if (existsSync(out)) return out
  const object = out.replace(/wasm$/, 'o')
  const flags = ['--target=wasm32-wasi', '-mmutable-globals', '-g', '-w', level]
  run('clang', ...flags, '-c', join(root, source), '-o', object)
  const more = [
    '--export=malloc',
    '--export=free',
    '--export=__stack_pointer',
    '--export-table',
    '--allow-undefined',
  ]
  run(
    'clang',
    '--target=wasm32-wasi',
    '-mexec-model=reactor',
    ...more.map(one => `-Wl,${one}`),
    object,
    '-o',
    out,
  )
  return out
}

function run(command: string, ...words: string[]): void {
  const { status, stderr } = spawnSync(command, words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}:\n${stderr}`)
}

export interface Checked extends CheckResult {
  readonly out: string
}

/** Runs a guest under the checker and keeps what it writes. */
export function checked(guest: Guest, args: readonly string[], options: CheckOptions = {}): Checked {
  let out = ''
  const result = check(guest, {
    ...options,
    args,
    stdin: () => 0,
    stdout: bytes => {
      out += Buffer.from(bytes).toString('latin1')
      return bytes.length
    },
  })
  return { ...result, out }
}
