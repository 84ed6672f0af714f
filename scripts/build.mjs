#!/usr/bin/env node
/**
 * Builds what its sources have outgrown, and nothing else:
 *   the entries of src/kernels/assembly/ → src/kernels/*.wasm (AssemblyScript)
 *   src/heap/code/*.ts with src/heap/assembly/*.ts → src/heap/*.wasm (AssemblyScript; the former are TypeScript as well)
 *   src/**\/*.ts → dist/ (tsc), and the .wasm files beside them; dist/cli/plain-run.js, explain-run.js and check-run.js, and the threads of
 *     the pager and the keeper of replays, are made one file each (vite)
 *   the entries of dist/library/ → dist/lethe/ (vite), what a program imports: a few files instead of a hundred
 *   src/lab/ with what it shows → dist/lab/ (vite)
 *   src/report/ → dist/report/index.html, script and style inside (vite)
 * Works under any Node from 20 on. `--kernels` leaves dist/ alone.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const kernels = join(root, 'src/kernels')
const lab = join(root, 'src/lab')
const report = join(root, 'src/report')
const require = createRequire(import.meta.url)

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
}

/** The contents of a source and of all that it imports, by file name in `sources`. */
function closure(entry, sources) {
  const byName = new Map(sources.map(path => [basename(path), path]))
  const seen = new Map()
  const visit = path => {
    if (path === undefined || seen.has(path)) return
    const text = readFileSync(path, 'utf8')
    seen.set(path, text)
    for (const [, from] of text.matchAll(/from '\.[^']*\/([^'/]+)'/g))
      visit(byName.get(from.endsWith('.ts') ? from : `${from}.ts`))
  }
  visit(entry)
  return [...seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text)
}

/** Whether `wasm` is what `texts` and `options` make; if not, `done` is called for once it is. Contents count, not times: a checkout changes those. */
function madeOf(wasm, texts, options) {
  const hash = createHash('sha256')
  const { version } = require('assemblyscript/package.json')
  for (const part of [version, options.join(' '), ...texts]) hash.update(part).update('\0')
  const sum = hash.digest('hex')
  const beside = `${wasm}.sha256`
  return {
    fresh: existsSync(wasm) && existsSync(beside) && readFileSync(beside, 'utf8') === sum,
    done: () => writeFileSync(beside, sum),
  }
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
  const options = ['-O3', '--enable', 'simd', '--runtime', 'stub', '--noAssert', '--disableWarning', '112']
  const names = 'pages search text elements numbers inflate lzf png tiff table records machine pieces grain'
  for (const name of names.split(' ')) {
    const wasm = join(kernels, `${name}.wasm`)
    const entry = join(kernels, 'assembly', `${name}.ts`)
    const made = madeOf(wasm, closure(entry, sources), options)
    if (made.fresh) continue
    const asc = join(dirname(require.resolve('assemblyscript/package.json')), 'bin/asc.js')
    const part = `${wasm}.${process.pid}`
    run(process.execPath, [asc, relative(root, entry), '-o', part, ...options], part)
    renameSync(part, wasm)
    made.done()
  }
}

// AssemblyScript sees one folder: the allocators, whose imports lose their .ts, and its own side of what they import.
function buildHeaps() {
  const heap = join(root, 'src/heap')
  const sources = [...filesBelow(join(heap, 'code')), ...filesBelow(join(heap, 'assembly'))]
  const options = '-O3 --enable bulk-memory --runtime stub --noAssert --importMemory --memoryBase 0'.split(
    ' ',
  )
  const old = ['lists', 'buddy', 'best', 'collector']
    .map(name => ({
      name,
      ...madeOf(
        join(heap, `${name}.wasm`),
        closure(join(heap, 'assembly', `${name}-heap.ts`), sources),
        options,
      ),
    }))
    .filter(made => !made.fresh)
  if (old.length === 0) return
  const folder = join(heap, `.assembly.${process.pid}`)
  mkdirSync(folder)
  for (const source of sources)
    writeFileSync(join(folder, basename(source)), readFileSync(source, 'utf8').replaceAll(".ts'", "'"))
  const asc = join(dirname(require.resolve('assemblyscript/package.json')), 'bin/asc.js')
  for (const { name, done } of old) {
    const part = join(folder, `${name}.wasm`)
    run(
      process.execPath,
      [asc, relative(root, join(folder, `${name}-heap.ts`)), '-o', part, ...options],
      folder,
    )
    renameSync(part, join(heap, `${name}.wasm`))
    done()
  }
  rmSync(folder, { recursive: true })
}

/** Each thread of the library's is started often, and a hundred modules take four times as long to load as one. */
async function bundleLibrary(dist) {
  const { build } = await import('vite')
  const names = ['index', 'pager', 'scanner', 'writer', 'object-fetcher']
  const folder = join(dist, 'lethe')
  await build({
    root: dist,
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: true,
      outDir: folder,
      minify: false,
      target: 'es2023',
      copyPublicDir: false,
      rollupOptions: {
        input: Object.fromEntries(
          names.map(name => [
            name,
            join(dist, name === 'object-fetcher' ? 'backing' : 'library', `${name}.js`),
          ]),
        ),
        // Names and lines stay, for who reads a stack: of an error that nobody catches node prints the whole line.
        output: {
          entryFileNames: '[name].js',
          chunkFileNames: 'shared-[name].js',
          minify: { compress: false, mangle: false, codegen: { removeWhitespace: false } },
        },
      },
    },
  })
  copyKernels(dist, 'lethe')
}

/** Joined files look for the kernels beside themselves. */
function copyKernels(dist, folder) {
  for (const name of readdirSync(join(dist, 'kernels')).filter(name => name.endsWith('.wasm')))
    copyFileSync(join(dist, 'kernels', name), join(dist, folder, name))
}

async function buildDist() {
  const dist = join(root, 'dist')
  const stamp = join(dist, '.built')
  const sources = filesBelow(join(root, 'src')).filter(
    path =>
      !path.includes('/assembly/') &&
      !path.includes('.assembly') &&
      !path.startsWith(lab) &&
      !path.startsWith(report),
  )
  const settings = ['tsconfig.json', 'tsconfig.build.json'].map(name => join(root, name))
  if (time(stamp) > newest([...sources, ...settings])) return
  const part = `${dist}.${process.pid}`
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', part], part)
  for (const path of sources.filter(source => /\.(wasm|c|h)$/.test(source))) {
    const copy = join(part, relative(join(root, 'src'), path))
    mkdirSync(dirname(copy), { recursive: true })
    copyFileSync(path, copy)
  }
  // In this order: a file that is joined is not joined into another.
  for (const name of ['plain-run.js', 'explain-run.js', 'check-run.js'])
    await joinSmall(join(part, 'cli'), name)
  await joinSmall(join(part, 'replay'), 'keeper.js')
  for (const name of ['main.js', 'server.js']) await joinSmall(join(part, 'pager'), name)
  copyKernels(part, 'pager')
  await bundleLibrary(part)
  writeFileSync(join(part, '.built'), '')
  // The pages have builds of their own.
  for (const page of ['lab', 'report'])
    if (existsSync(join(dist, page))) renameSync(join(dist, page), join(part, page))
  const old = `${part}.old`
  if (existsSync(dist)) renameSync(dist, old)
  renameSync(part, dist)
  rmSync(old, { recursive: true, force: true })
}

// A file of dist/cli with all that it imports in itself; what it loads later stays where it is.
async function joinOne(folder, name, output = {}) {
  const { build } = await import('vite')
  const entry = join(folder, name)
  const made = join(folder, 'joined')
  await build({
    root: folder,
    configFile: false,
    logLevel: 'warn',
    build: {
      ssr: entry,
      outDir: made,
      target: 'es2023',
      rolldownOptions: { external: ['./main.js', './explain-run.js'], output },
    },
  })
  renameSync(join(made, name), entry)
  rmSync(made, { recursive: true })
}

// V8 keeps the source of all that it runs, in each thread, and of a hundred modules much beside it. Names stay, for who reads a
// stack; comments go, and so does every character beyond ASCII, for one of those makes the whole source two bytes wide.
async function joinSmall(folder, name) {
  await joinOne(folder, name, { minify: { compress: false, mangle: false, codegen: true } })
  const path = join(folder, name)
  const escaped = unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  writeFileSync(path, readFileSync(path, 'utf8').replace(/[\u0080-\uffff]/g, escaped))
}

// A page of ours in `folder`, which shows what is in `shown`; `finish` gets the folder that vite made.
async function buildPage(folder, shown, finish = () => {}) {
  const out = join(root, 'dist', basename(folder))
  const sources = [folder, ...shown.map(name => join(root, 'src', name))].flatMap(path =>
    statSync(path).isDirectory() ? filesBelow(path) : [path],
  )
  const written = sources.filter(path => /\.(ts|tsx|css|html)$/.test(path))
  if (time(join(out, '.built')) > newest([...written, fileURLToPath(import.meta.url)])) return
  const { build } = await import('vite')
  const { default: preact } = await import('@preact/preset-vite')
  const part = `${out}.${process.pid}`
  try {
    await build({
      root: folder,
      base: './',
      configFile: false,
      logLevel: 'warn',
      plugins: [preact({ devToolsEnabled: false, prefreshEnabled: false })],
      resolve: { alias: { 'node:fs': join(lab, 'no-files.ts') } },
      build: {
        outDir: part,
        emptyOutDir: true,
        target: 'es2022',
        modulePreload: false,
        chunkSizeWarningLimit: 1000,
      },
    })
    finish(part)
  } catch (error) {
    rmSync(part, { recursive: true, force: true })
    console.error(`build: ${basename(folder)} failed: ${error.message}`)
    process.exit(1)
  }
  writeFileSync(join(part, '.built'), '')
  rmSync(out, { recursive: true, force: true })
  renameSync(part, out)
}

// One file that needs no other: scripts and styles go into it.
function inline(folder) {
  const page = join(folder, 'index.html')
  const read = name => readFileSync(join(folder, name), 'utf8')
  const html = readFileSync(page, 'utf8')
    .replace(/<link rel="stylesheet"[^>]* href="\.\/([^"]+)">/g, (_, name) => `<style>${read(name)}</style>`)
    .replace(/<script type="module"[^>]* src="\.\/([^"]+)"><\/script>/g, (_, name) => {
      return `<script type="module">${read(name).replaceAll('</script', '<\\/script')}</script>`
    })
  if (/(src|href)="\.\//.test(html)) throw new Error('a file of it was not taken in')
  writeFileSync(page, html)
  rmSync(join(folder, 'assets'), { recursive: true })
}

// npm leaves out optional packages that want a newer Node than the one that it runs under, and only warns; vite is nothing without one of them.
function checkPackages() {
  const folder = join(root, 'node_modules/@rolldown')
  if (!existsSync(folder) || readdirSync(folder).some(name => name.startsWith('binding-'))) return
  const [, node = 'an old version'] = /\bnode\/(\S+)/.exec(process.env['npm_config_user_agent'] ?? '') ?? []
  console.error(
    `build: npm ran under Node ${node} and has left out packages that need 20.19 or later; install them with npx -y -p node@24 -p npm@11 npm ci`,
  )
  process.exit(1)
}

buildKernels()
buildHeaps()
if (!process.argv.includes('--kernels')) {
  checkPackages()
  await buildDist()
  await buildPage(lab, ['machine', 'policy', 'heap', 'lens', 'backing', 'pager/decide.ts'])
  await buildPage(report, ['lab/theme.css', 'audit'], inline)
}
