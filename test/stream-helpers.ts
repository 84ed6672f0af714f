/** Data and compressors for the tests of lenses that decompress. */
import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import type { Backing } from '../src/backing/backing.ts'
import type { Lens } from '../src/lens/lens.ts'
import { logBytes } from './explain-helpers.ts'

export function textBytes(length: number, seed: number): Uint8Array {
  return logBytes(length, seed)
}

/** Bytes of some structure: runs, repeats, letters, noise; `most` bytes at most. */
export function anyData(most: number): fc.Arbitrary<Uint8Array> {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ maxLength: 100 }).map(text => Uint8Array.from(Buffer.from(text))),
    fc.tuple(fc.nat(255), fc.nat(1000)).map(([byte, n]) => new Uint8Array(n).fill(byte)),
    fc
      .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(600))
      .map(([unit, n]) => Uint8Array.from({ length: n }, (_, i) => unit[i % unit.length] ?? 0)),
    fc.tuple(fc.nat(5000), fc.nat(1000)).map(([n, seed]) => textBytes(n, seed)),
  )
  return fc
    .array(piece, { maxLength: 8 })
    .map(pieces => Uint8Array.from(Buffer.concat(pieces).subarray(0, most)))
}

export function has(command: string): boolean {
  return spawnSync('which', [command]).status === 0
}

/** What a compressor makes of data, from standard input to standard output. */
export function compressed([command = '', ...args]: readonly string[], data: Uint8Array): Uint8Array {
  const { status, stdout, stderr } = spawnSync(command, args, { input: data, maxBuffer: 2 ** 30 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${String(stderr)}`)
  return Uint8Array.from(stdout)
}

export function readWhole(lens: Lens, backing: Backing): Uint8Array {
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  return out
}
