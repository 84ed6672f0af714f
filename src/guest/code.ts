// Machine code that V8 has made of a module, kept from run to run: a second run begins with code that is optimized already.
//
// Node has no door to V8's cache of WebAssembly code, but V8 has two functions for its own tests that do what Chrome's cache does. They
// are reached by a flag that is on while they are used. V8 itself refuses code of another version, or of other flags; where
// anything of this is missing, a module is compiled as ever.
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import type { EngineModule } from './engine.ts'
import { cacheDirectory, keep, used } from './cache.ts'

type Export = (...args: never) => unknown
interface Engine {
  readonly serialize: (module: EngineModule) => ArrayBuffer
  readonly deserialize: (code: ArrayBuffer, bytes: Uint8Array) => EngineModule | undefined
  readonly optimize: (exported: Export) => void
}

/**
 * Calls with V8's functions, or not at all. The flag is on as long as `use` runs: V8 throws away what it has made of a function that rests,
 * and reads its source anew when it is called again.
 */
function withEngine<T>(use: (engine: Engine) => T): T | undefined {
  setFlagsFromString('--allow-natives-syntax')
  try {
    return use({
      serialize: new Function('m', 'return %SerializeWasmModule(m)') as Engine['serialize'],
      deserialize: new Function('c', 'b', 'return %DeserializeWasmModule(c, b)') as Engine['deserialize'],
      optimize: new Function('f', '%WasmTierUpFunction(f)') as Engine['optimize'],
    })
  } catch {
    // A cache that can't be read or written is none.
    return undefined
  } finally {
    setFlagsFromString('--no-allow-natives-syntax')
  }
}

const checkBytes = 32
const most = 2 ** 26
/** Code is kept anew when there is so much more of it. */
const growth = 1.1

const nameOf = (bytes: Uint8Array): string =>
  `${createHash('sha256').update(bytes).digest('hex')}.${process.versions.v8}-${process.arch}.code`
const check = (code: Uint8Array): Buffer => createHash('sha256').update(code).digest()

// It will run: a file that somebody else could have written is none of ours.
function readOwn(path: string): Buffer {
  const fd = openSync(path, 'r')
  try {
    const { uid, mode } = fstatSync(fd)
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) throw new Error(`${path} is not ours`)
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

// What V8 13 and its neighbours do by themselves is 13 million.
const patience = 60_000_000

/**
 * Has V8 wait longer before it optimizes a function of modules that it compiles from now on. It counts the bytes of code that have run, and
 * checks make eight times as many of them: functions that hardly matter would be optimized, which for such code takes longer than it saves.
 */
export function optimizeLater(): void {
  // A flag that V8 doesn't know is told on standard error.
  const major = Number.parseInt(process.versions.v8, 10)
  if (major >= 12 && major <= 14) setFlagsFromString(`--wasm-tiering-budget=${patience}`)
}

/** A module with the code that an earlier run of it has left. */
export function keptCode(bytes: Uint8Array): EngineModule | undefined {
  return withEngine(v8 => {
    const path = join(cacheDirectory(), nameOf(bytes))
    const file = readOwn(path)
    const code = file.subarray(checkBytes)
    // V8 believes what it is given.
    if (!check(code).equals(file.subarray(0, checkBytes))) return undefined
    used(path)
    return v8.deserialize(new Uint8Array(code).buffer, new Uint8Array(bytes))
  })
}

/** Keeps the code of a module that has run, if there is more of it than is kept. `exported`: any of its functions. */
export function keepCode(bytes: Uint8Array, module: EngineModule, exported: unknown): void {
  if (typeof exported !== 'function') return
  withEngine(v8 => {
    const name = nameOf(bytes)
    // V8 ends the process if it is to give the code of a module of which it has optimized nothing.
    v8.optimize(exported as Export)
    const code = new Uint8Array(v8.serialize(module))
    if (code.length > most) return
    const before = statSync(join(cacheDirectory(), name), { throwIfNoEntry: false })?.size ?? 0
    if (code.length < growth * before) return
    keep(name, Buffer.concat([check(code), code]))
  })
}
