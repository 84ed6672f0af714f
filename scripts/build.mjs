#!/usr/bin/env node
/**
 * Builds what is older than its sources, and nothing else:
 *   the entries of src/kernels/assembly/ → src/kernels/*.wasm (AssemblyScript)
 *   src/**\/*.ts → dist/ (tsc), and the .wasm files beside them
 * Works under any Node from 20 on. `--kernels` leaves dist/ alone.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const kernels = join(root, 'src/kernels')
const require = createRequire(import.meta.url)

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
}

const time = path => (existsSync(path) ? statSync(path).mtimeMs : 0)
const newest = paths => paths.reduce((latest, path) => Math.max(latest, time(path)), 0)

function run(command, args, part) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (result.status !== 0) {
    rmSync(part, { recursive: true, force: true })
    console.error(`build: ${args[0]} failed`)
    process.exit(1)
  }
}

function buildKernels() {
  const sources = filesBelow(join(kernels, 'assembly'))
  const changed = newest([...sources, fileURLToPath(import.meta.url)])
  for (const name of ['pages', 'search', 'text', 'elements', 'numbers', 'inflate', 'png']) {
    const wasm = join(kernels, `${name}.wasm`)
    if (time(wasm) > changed) continue
    const asc = join(dirname(require.resolve('assemblyscript/package.json')), 'bin/asc.js')
    const part = `${wasm}.${process.pid}`
    const entry = relative(root, join(kernels, 'assembly', `${name}.ts`))
    run(
      process.execPath,
      [asc, entry, '-o', part, '-O3', '--enable', 'simd', '--runtime', 'stub', '--noAssert'],
      part,
    )
    renameSync(part, wasm)
  }
}

function buildDist() {
  const dist = join(root, 'dist')
  const stamp = join(dist, '.built')
  const sources = filesBelow(join(root, 'src')).filter(path => !path.includes('/assembly/'))
  const settings = ['tsconfig.json', 'tsconfig.build.json'].map(name => join(root, name))
  if (time(stamp) > newest([...sources, ...settings])) return
  const part = `${dist}.${process.pid}`
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', part], part)
  for (const path of sources.filter(source => source.endsWith('.wasm'))) {
    const copy = join(part, relative(join(root, 'src'), path))
    mkdirSync(dirname(copy), { recursive: true })
    copyFileSync(path, copy)
  }
  writeFileSync(join(part, '.built'), '')
  const old = `${part}.old`
  if (existsSync(dist)) renameSync(dist, old)
  renameSync(part, dist)
  rmSync(old, { recursive: true, force: true })
}

buildKernels()
if (!process.argv.includes('--kernels')) buildDist()
