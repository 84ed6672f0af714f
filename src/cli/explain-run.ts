// `lethe run --explain prog.wasm` with no more options than directories, variables and --json FILE. The build puts all that it needs into one file: to find
// and read eighty takes longer than many a program.
import { load } from '../guest/load.ts'
import { fs } from '../guest/node.ts'
import { explained } from './guest-explained.ts'
import type { PlainRun } from './plain.ts'
import { runPlain } from './plain-start.ts'

export function explainRun(plain: PlainRun): void {
  const { json } = plain.flags
  runPlain(plain, (path, options) => {
    if (json !== undefined) fs.writeFileSync(json, '')
    return explained(load(path), options, json === undefined ? {} : { json })
  })
}
