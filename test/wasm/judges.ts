// Who else reads WebAssembly: V8, wabt and binaryen. They judge what we write.
import { setFlagsFromString } from 'node:v8'
import wabtInit from 'wabt'

// Node 24 has exceptions with exnref behind a flag.
setFlagsFromString('--experimental-wasm-exnref')

/** V8's reader; neither es2024 nor @types/node declares it. */
declare const WebAssembly: {
  validate(bytes: Uint8Array): boolean
  readonly Module: new (bytes: Uint8Array) => object
}

/** Whether V8 takes the module; the reason is thrown where `why` is asked for. */
export function compiles(bytes: Uint8Array, why = false): boolean {
  if (why && !WebAssembly.validate(bytes)) new WebAssembly.Module(bytes)
  return WebAssembly.validate(bytes)
}

type Wabt = Awaited<ReturnType<typeof wabtInit>>
let wabt: Wabt | undefined

/** What wabt calls its features, as far as we read them. */
const features = {
  exceptions: true,
  mutable_globals: true,
  sat_float_to_int: true,
  sign_extension: true,
  simd: true,
  threads: true,
  multi_value: true,
  tail_call: true,
  bulk_memory: true,
  reference_types: true,
  memory64: true,
  multi_memory: true,
  extended_const: true,
  relaxed_simd: true,
}

/** wabt's complaint about a module, `undefined` if it has none. */
export async function wabtSays(bytes: Uint8Array): Promise<string | undefined> {
  wabt ??= await wabtInit()
  try {
    // Of a view it reads the whole buffer: a copy has one of its own.
    const module = wabt.readWasm(new Uint8Array(bytes), { ...features, readDebugNames: false })
    try {
      // Its declaration has forgotten the argument.
      ;(module.validate as (of: typeof features) => void).call(module, features)
    } finally {
      module.destroy()
    }
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** Whether binaryen reads the module and finds it valid. */
export async function binaryenTakes(bytes: Uint8Array): Promise<boolean> {
  const { default: binaryen } = await import('binaryen')
  // Its declaration has another name for this.
  const read = binaryen.readBinary as typeof binaryen.readBinaryWithFeatures
  const module = read(bytes, binaryen.Features.All)
  try {
    return module.validate() === 1
  } finally {
    module.dispose()
  }
}
