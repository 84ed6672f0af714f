// npm run stress:replay [-- --pages N --minutes N --seed N]
//
// Ten guests (five loaders, not optimized and optimized) load data from seeds under replay and jump about in it, so that pages come back all the time; every
// other one has its file rewritten as soon as it has loaded. Each must print what it prints plain, and no page may come out wrong.
// Goes on until so many pages came back, or the time is over.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Explanation } from '../../src/replay/explain.ts'
import { launcher, whyNoGuests } from '../guest/guests.ts'
import { loaderNames, write } from './loaders.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const { values } = parseArgs({
  options: {
    pages: { type: 'string', default: '100000' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
  },
})
const wanted = Number(values.pages)
const until = performance.now() + Number(values.minutes) * 60_000
const levels = ['-O0', '-O2']
const longest = 180_000

if (whyNoGuests !== undefined) {
  console.error(`Skipped: ${whyNoGuests}`)
  process.exit(0)
}
const folder = mkdtempSync(join(tmpdir(), 'lethe-replay-stress-'))
process.on('exit', () => removeFolder(folder))

function compiled(name: string, level: string): string {
  const wasm = join(folder, `${name}${level}.wasm`)
  if (existsSync(wasm)) return wasm
  const source = resolve(import.meta.dirname, `../guests/replay/${name}.c`)
  const target = '--target=wasm32-wasi'
  for (const args of [
    [target, level, '-w', '-c', source, '-o', `${wasm}.o`],
    [target, `${wasm}.o`, '-o', wasm, '-lm'],
  ]) {
    const { status, stderr } = spawnSync('clang', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`clang: ${stderr}`)
  }
  return wasm
}

interface Run {
  readonly out: string
  readonly err: string
  readonly status: number | null
}

function run(args: readonly string[], loaded?: () => void): Promise<Run> {
  const child = spawn(launcher, ['run', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  let said = false
  child.stdout.on('data', (part: Buffer) => (out += part.toString()))
  child.stderr.on('data', (part: Buffer) => {
    err += part.toString()
    if (said || !err.includes('loaded')) return
    said = true
    loaded?.()
  })
  const timer = setTimeout(() => child.kill(), longest)
  return new Promise(done =>
    child.on('close', status => {
      clearTimeout(timer)
      done({ out, err, status })
    }),
  )
}

let pages = 0
let dropped = 0
let wrong = 0
const guests = new Set<string>()
let seed = Number(values.seed)
for (let n = 0; pages < wanted && performance.now() < until; n++, seed++) {
  const name = loaderNames[n % loaderNames.length] as string
  const level = levels[Math.floor(n / loaderNames.length) % levels.length] as string
  const rewritten = (n + Math.floor(n / 10)) % 2 === 1
  const place = join(folder, 'data')
  mkdirSync(place, { recursive: true })
  const data = join(place, 'data')
  write(name, data, seed, 0.3 + (seed % 5) * 0.15)
  const json = join(folder, 'explain.json')
  const args = ['--dir', place, compiled(name, level), '--', data, '300000', '300']
  const plain = await run(args)
  const replayed = await run(['--explain', '--budget', '256K', '--json', json, ...args], () => {
    // Other bytes where the old ones were, and then another file.
    if (rewritten) writeFileSync(data, 'x'.repeat(statSync(data).size), { flag: 'r+' })
  })
  const { memory, epochs } = JSON.parse(readFileSync(json, 'utf8') || '{}') as Explanation
  const good = plain.status === 0 && replayed.status === 0 && plain.out === replayed.out
  guests.add(`${name}${level}`)
  pages += epochs?.rebuiltPages ?? 0
  dropped += (memory?.virtual ?? 0) / 4096 + (epochs?.rebuiltPages ?? 0)
  wrong += (epochs?.mismatches ?? 0) + (good ? 0 : 1)
  console.log(
    `seed ${seed}: ${name} ${level}${rewritten ? ', file rewritten' : ''}: ${good ? 'right' : 'WRONG'}; ${epochs?.rebuiltPages} pages came back, ${epochs?.mismatches} wrong; all: ${pages}`,
  )
  if (!good)
    console.error(
      `plain ${plain.status}: ${plain.out}\nreplayed ${replayed.status}: ${replayed.out}\n${replayed.err}`,
    )
}
console.log(`${pages} pages of ${guests.size} guests came back, ${wrong} wrong; ${dropped} were dropped`)
process.exit(wrong > 0 ? 1 : 0)
