// What has to hold for every module, and mutations of modules; the test and the long run share it.
import assert from 'node:assert/strict'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { WasmError } from '../../src/wasm/errors.ts'
import { validate } from '../../src/wasm/validate.ts'
import { type Features, generate } from './generator.ts'
import { binaryenTakes, compiles, wabtSays } from './judges.ts'

const kinds: readonly Features['exceptions'][] = ['none', 'legacy', 'exnref']

/** The bytes of the generator's module of a seed. */
export function generated(seed: number): Uint8Array {
  return encode(generate(seed, { exceptions: kinds[Math.abs(seed) % 3] as Features['exceptions'] }))
}

/** A generated module comes back byte for byte, is valid, and V8, wabt and (if asked) binaryen take it. */
export async function checkGenerated(seed: number, binaryen: boolean): Promise<void> {
  const bytes = generated(seed)
  const module = decode(bytes)
  assert.equal(Buffer.compare(encode(module), bytes), 0, `seed ${seed}: it comes back as something else`)
  validate(module)
  assert(compiles(bytes, true), `seed ${seed}: V8 refuses it`)
  assert.equal(await wabtSays(bytes), undefined, `seed ${seed}: wabt refuses it`)
  if (binaryen) assert(await binaryenTakes(bytes), `seed ${seed}: binaryen refuses it`)
}

/** One to three bytes changed, taken out or put in, mostly near the start, or the end cut off. */
export function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  let state = seed >>> 0
  const below = (n: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  // The slice of a Buffer would be the same memory.
  let mutant = Uint8Array.from(bytes)
  if (below(40) === 0) return mutant.slice(0, below(mutant.length))
  for (let edits = below(3); edits >= 0; edits--) {
    const at = below(3) > 0 ? below(mutant.length) : Math.min(8 + below(300), mutant.length - 1)
    const choice = below(4)
    if (choice === 0) mutant[at] = below(256)
    else if (choice === 1) mutant[at] = (mutant[at] as number) ^ (1 << below(8))
    else if (choice === 2)
      mutant = Uint8Array.from([...mutant.subarray(0, at), ...mutant.subarray(at + 1 + below(4))])
    else mutant = Uint8Array.from([...mutant.subarray(0, at), below(256), ...mutant.subarray(at)])
  }
  return mutant
}

/** Our verdict on bytes: undefined, or the error. Any other exception is a fault of ours. */
export function verdict(bytes: Uint8Array): WasmError | undefined {
  try {
    validate(decode(bytes))
    return undefined
  } catch (error) {
    if (error instanceof WasmError) return error
    throw error
  }
}

/** We and wabt agree about a mutant, and what we refuse we refuse at a byte of it. */
export async function checkMutant(bytes: Uint8Array, seed: number): Promise<'taken' | 'refused'> {
  const mutant = mutate(bytes, seed)
  const error = verdict(mutant)
  const wabt = await wabtSays(mutant)
  // What we refuse by name may be fine for wabt; and wabt looks at two bits only of the flags of a data segment.
  const lenient = error?.message.includes('not the flags of a data segment') && !compiles(mutant)
  if (error?.code !== 'unsupported' && lenient !== true)
    assert.equal(
      error === undefined,
      wabt === undefined,
      `seed ${seed}: we say ${error?.message ?? 'valid'}; wabt says ${wabt ?? 'valid'}`,
    )
  if (error === undefined) return 'taken'
  assert(error.offset >= 0 && error.offset <= mutant.length, error.message)
  assert(error.message.includes(`at byte ${error.offset}: `), error.message)
  return 'refused'
}
