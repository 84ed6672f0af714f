// Node's own modules for the short way from `lethe run` to a program's first instruction. `import` copies all that a module of Node's has, and
// for node:fs and node:util that loads streams, decoders and a differ: some 40 ms, as much as Node itself takes to start.
export const fs: typeof import('node:fs') = process.getBuiltinModule('node:fs')

/** One that is needed now and then only. */
export const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto')
export const os = (): typeof import('node:os') => process.getBuiltinModule('node:os')
export const tty = (): typeof import('node:tty') => process.getBuiltinModule('node:tty')

/** A module of ours that is loaded in the middle of something: `near` is the import.meta.url of who asks, `path` goes without its ending. */
export function load(near: string, path: string): unknown {
  const { createRequire } = process.getBuiltinModule('node:module')
  return createRequire(near)(`${path}${near.slice(-3)}`)
}
