// What of the codec a guest takes that is not run as it is.
export { decode } from '../wasm/decode.ts'
export { encode } from '../wasm/encode.ts'
export { WasmError } from '../wasm/errors.ts'
