// A WASI program under Node's own WASI: node-wasi.mjs PROGRAM DIRECTORY ARGUMENT…
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { WASI } from 'node:wasi'

const [program, directory, ...args] = process.argv.slice(2)
const wasi = new WASI({
  version: 'preview1',
  args: [basename(program), ...args],
  env: {},
  preopens: { [directory]: directory },
  returnOnExit: true,
})
const module = new WebAssembly.Module(readFileSync(program))
process.exitCode = wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()))
