// wasi-libc's dlmalloc as a WebAssembly module, compiled when it is needed (Debian: clang lld wasi-libc libclang-rt-dev-wasm32).
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LinearMemory } from '../../src/heap/wasm.ts'
import { Skip } from './cc.ts'
import { dataFolder } from './data.ts'

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: Record<string, Record<string, () => number>>,
  ) => { readonly exports: unknown }
}

export interface Malloc {
  malloc(bytes: number): number
  free(pointer: number): void
  realloc(pointer: number, bytes: number): number
}

/** A new dlmalloc with a memory of its own. Throws Skip without the tools. */
export function dlmalloc(): Malloc & { readonly memory: LinearMemory } {
  const path = join(dataFolder, 'dlmalloc.wasm')
  if (!existsSync(path)) {
    mkdirSync(dataFolder, { recursive: true })
    const source = join(dataFolder, 'dlmalloc.c')
    writeFileSync(source, '#include <stdlib.h>\nvoid *keep(size_t n) { return malloc(n); }\n')
    const names = ['malloc', 'free', 'realloc'].map(name => `-Wl,--export=${name}`)
    const words = ['--target=wasm32-wasi', '-O2', '-mexec-model=reactor', ...names, '-o', path, source]
    const done = spawnSync('clang', words, { encoding: 'utf8', timeout: 60_000 })
    if (done.error !== undefined || done.status !== 0)
      throw new Skip(
        `no dlmalloc to compare with: apt install clang lld wasi-libc libclang-rt-dev-wasm32 (${done.error?.message ?? done.stderr.split('\n')[0]})`,
      )
  }
  const none = new Proxy({}, { get: () => () => 0 })
  const instance = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(path)), {
    wasi_snapshot_preview1: none,
  })
  const exports = instance.exports as Malloc & { readonly memory: LinearMemory; _initialize?(): void }
  exports._initialize?.()
  return exports
}
