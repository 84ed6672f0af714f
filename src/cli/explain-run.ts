// `lethe run --explain prog.wasm` with no more options than directories, variables and --json FILE. The build puts all that it needs into one file: to find
// and read eighty takes longer than many a program.
import { load } from '../guest/load.ts'
import { beginFile } from './files.ts'
import { explained } from './guest-explained.ts'
import type { PlainRun } from './plain.ts'
import { runPlain } from './plain-start.ts'

export function explainRun(plain: PlainRun): void {
  const { json } = plain.flags
  runPlain(plain, (path, options) => {
    if (json !== undefined) beginFile('--json', json)
    return explained(load(path), options, json === undefined ? {} : { json })
  })
}
