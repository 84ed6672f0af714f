// The start of `lethe run prog.wasm`: bin/lethe comes here when the command is a WebAssembly file. With no more options than directories and variables the
// program is run from here, by code that the build puts into one file with this one (scripts/build.mjs): to find and read twenty takes as long as
// Node itself takes to start. With --explain it is another such file. All else goes on in main.ts.
import { load } from '../guest/load.ts'
import { run } from '../guest/instance.ts'
import { plainRun } from './plain.ts'
import { runPlain } from './plain-start.ts'

const plain = plainRun(process.argv.slice(3))
if (plain === undefined) await import('./main.ts')
else if (plain.flags.explain) (await import('./explain-run.ts')).explainRun(plain)
else runPlain(plain, (path, options) => run(load(path), options))
