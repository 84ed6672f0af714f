// Whether C can be compiled for WASI here.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Why not; `undefined` if it can. */
export function clangMissing(): string | undefined {
  for (const [tool, of] of [
    ['clang', 'clang'],
    ['wasm-ld', 'lld'],
    ['llvm-dwarfdump', 'llvm'],
  ] as const)
    if (spawnSync(tool, ['--version']).status !== 0) return `no ${tool} (package ${of})`
  if (!existsSync('/usr/include/wasm32-wasi/stdio.h')) return 'no wasi-libc'
  return undefined
}
