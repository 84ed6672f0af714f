// The C programs of the benches, compiled when they are needed.
import { spawnSync } from 'node:child_process'
import { mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { dataFolder } from './data.ts'

/** Why a bench, or a part of it, can't be done here. */
export class Skip extends Error {}

/** Compiles `bench/<name>.c` (with others that it needs) to a program; its path. Throws Skip without a compiler. */
export function compile(...names: readonly string[]): string {
  const sources = names.map(name => join(import.meta.dirname, '..', `${name}.c`))
  mkdirSync(dataFolder, { recursive: true })
  const program = join(dataFolder, names.join('+'))
  const newest = Math.max(...sources.map(path => statSync(path).mtimeMs))
  if ((statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0) > newest) return program
  const part = `${program}.${process.pid}`
  const done = spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', part, ...sources], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  if (done.error !== undefined) throw new Skip(`no C compiler (${done.error.message})`)
  if (done.status !== 0) throw new Error(`cc ${names.join(' ')}: ${done.stderr}`)
  renameSync(part, program)
  return program
}

/** Where a program of this name is, or undefined. */
export function which(name: string): string | undefined {
  const done = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8', timeout: 10_000 })
  const path = done.stdout.trim()
  return path === '' ? undefined : path
}
