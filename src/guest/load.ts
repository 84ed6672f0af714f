// From a file to something that can be run.
import type { Module } from '../wasm/module.ts'
import { keep, kept } from './cache.ts'
import { engine, type EngineModule } from './engine.ts'
import { GuestError } from './errors.ts'
import { crypto, fs, load as loadModule } from './node.ts'

const { readFileSync } = fs

/** A program as it was read. */
export interface Guest {
  readonly path: string
  readonly bytes: Uint8Array
  /** sha256 of the bytes, in hexadecimal */
  readonly hash: string
  /** decoded when it is first asked for */
  readonly module: Module
}

/** A change of a guest's module before it is run. `name` says all that the result depends on: results are kept under it. */
export interface Pass {
  readonly name: string
  apply(module: Module): Module
}

/** Whether these are the first bytes of a WebAssembly file of any kind. */
export const looksLikeWasm = (start: Uint8Array): boolean =>
  start.length >= 4 && start[0] === 0 && start[1] === 0x61 && start[2] === 0x73 && start[3] === 0x6d

/** Reads a guest. GuestError 'module' where it is none. */
export function load(path: string): Guest {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new GuestError('module', `${path} can't be read (${(error as NodeJS.ErrnoException).code})`, error)
  }
  return guestOf(path, bytes)
}

/** A guest from bytes. GuestError 'module' where they are none. */
export function guestOf(path: string, bytes: Uint8Array): Guest {
  if (!looksLikeWasm(bytes))
    throw new GuestError('module', `${path} is not a WebAssembly module: it does not start with \\0asm`)
  if (bytes.length < 8)
    throw new GuestError('module', `${path} ends after ${bytes.length} bytes: it was cut off`)
  const version = Buffer.from(bytes.subarray(4, 8)).toString('hex')
  if (version !== '01000000')
    throw new GuestError(
      'module',
      version === '0d000100'
        ? `${path} is a component, not a module; take the core module out of it (wasm-tools component unbundle)`
        : `${path} is WebAssembly of an unknown version, ${version}; Lethe runs modules of version 1`,
    )
  let hash: string | undefined
  let module: Module | undefined
  return {
    path,
    bytes,
    get hash() {
      hash ??= crypto().createHash('sha256').update(bytes).digest('hex')
      return hash
    },
    get module() {
      module ??= decoded(path, bytes)
      return module
    },
  }
}

// A guest that is run as it is does without the codec, and loading that takes longer than many a run.
function codec(): typeof import('./codec.ts') {
  return loadModule(import.meta.url, '../guest/codec') as typeof import('./codec.ts')
}

function decoded(path: string, bytes: Uint8Array): Module {
  const { decode, WasmError } = codec()
  try {
    return decode(bytes)
  } catch (error) {
    if (!(error instanceof WasmError)) throw error
    throw new GuestError('module', `${path}: ${error.message}`, error)
  }
}

/** The guest's bytes after all passes; made once for each guest, list of passes and version of ours. */
export function rewritten(guest: Guest, passes: readonly Pass[], version: string): Uint8Array {
  if (passes.length === 0) return guest.bytes
  const names = passes.map(pass => pass.name).join('+')
  const key = crypto().createHash('sha256').update(`${version}\0${guest.hash}\0${names}`).digest('hex')
  const before = kept(`${key}.wasm`)
  if (before !== undefined) return before
  const made = codec().encode(passes.reduce((module, pass) => pass.apply(module), guest.module))
  keep(`${key}.wasm`, made)
  return made
}

/** Compiles. GuestError 'module' with the engine's reason and offset. */
export function compile(path: string, bytes: Uint8Array): EngineModule {
  try {
    return new engine.Module(bytes)
  } catch (error) {
    if (!(error instanceof engine.CompileError)) throw error
    const why = error.message.replace(/^WebAssembly\.Module\(\): /, '')
    throw new GuestError('module', `${path} is not a valid module: ${why}`, error)
  }
}
