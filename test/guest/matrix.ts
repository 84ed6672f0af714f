// The ways in which one guest can be run, all of which must print what it prints under Node's own WASI.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { allocatorNames } from '../../src/heap/allocator.ts'

const root = join(import.meta.dirname, '../..')
const launcher = join(root, 'bin/lethe')
const nodeWasi = join(root, 'bench/targets/node-wasi.mjs')

export interface Task {
  readonly wasm: string
  readonly args: readonly string[]
  readonly stdin?: string
  /** where it runs, and the directory that it may use */
  readonly folder: string
  /** such as 4M: a quarter of what it takes at most */
  readonly budget: string
  /** what the program prints otherwise each time, such as times */
  readonly differs?: RegExp
  /** seconds after which a run is given up */
  readonly patience: number
}

export interface Outcome {
  readonly stdout: string
  /** undefined: it was given up */
  readonly status: number | null
  readonly seconds: number
  readonly stderr: string
}

/** What `lethe` is given before the program, by the way's name. */
export function waysOf({ budget }: Task): Readonly<Record<string, readonly string[]>> {
  const machine = ['run', '--mmu', 'machine']
  return {
    plain: ['run'],
    [`budget ${budget}`]: ['run', '--budget', budget],
    machine,
    ...Object.fromEntries(allocatorNames.map(name => [`malloc ${name}`, ['run', '--malloc', name]])),
    'malloc best, budget': ['run', '--malloc', 'best', '--budget', budget],
    observe: ['run', '--malloc', 'observe'],
    gc: ['run', '--gc'],
    check: ['check', '--quiet'],
  }
}

/** The task under Node's own WASI. */
export const reference = (task: Task): Outcome =>
  start(process.execPath, ['--no-warnings', nodeWasi, task.wasm, '.', ...task.args], task)

export const through = (way: readonly string[], task: Task): Outcome =>
  start(launcher, [...way, '--dir', '.', task.wasm, '--', ...task.args], task)

function start(command: string, args: readonly string[], task: Task): Outcome {
  const { folder, stdin = '', patience, differs } = task
  const began = performance.now()
  const { stdout, stderr, status } = spawnSync(command, args, {
    cwd: folder,
    input: stdin,
    encoding: 'latin1',
    maxBuffer: 2 ** 30,
    timeout: patience * 1000,
  })
  const same = differs === undefined ? stdout : stdout.replace(differs, '')
  return { stdout: same, stderr, status, seconds: (performance.now() - began) / 1000 }
}
