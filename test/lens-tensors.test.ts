/** The laws for arrays in .npy, .npz and safetensors files, of any stored type, byte order and shape. */
import { crc32, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { describe } from 'vitest'
import { tensorLens } from '../src/lens/tensors.ts'
import { lensContract } from './lens-contract.ts'

/** What an array holds: any bytes, as many as its shape asks for. */
interface Made {
  readonly type: string
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

const bytesOf: Readonly<Record<string, number>> = { u1: 1, i1: 1, u2: 2, i2: 2, f2: 2, f4: 4, f8: 8, BF16: 2 }

const arraysOf = (types: readonly string[], prefix: RegExp): fc.Arbitrary<Made> =>
  fc.tuple(fc.constantFrom(...types), fc.array(fc.nat(6), { maxLength: 3 })).chain(([type, shape]) => {
    const length = shape.reduce((all, n) => all * n, bytesOf[type.replace(prefix, '')] as number)
    return fc.record({
      type: fc.constant(type),
      shape: fc.constant(shape),
      data: fc.uint8Array({ minLength: length, maxLength: length }),
    })
  })

/** As numpy writes it; versions 2 and 3 have a longer length. Files may go on after the array. */
function npy({ type, shape, data }: Made, version: number, rest: Uint8Array): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  const start = version === 1 ? 10 : 12
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`
  const header = `${text.padEnd(Math.ceil((start + text.length + 1) / 64) * 64 - start - 1)}\n`
  const head = Buffer.alloc(start)
  head.write('\x93NUMPY', 'latin1')
  head[6] = version
  if (version === 1) head.writeUInt16LE(header.length, 8)
  else head.writeUInt32LE(header.length, 8)
  return Buffer.concat([head, Buffer.from(header), data, rest])
}

const few = fc.uint8Array({ maxLength: 20 })
const numpy = ['<f8', '>f8', '<f4', '>f4', '<f2', '<i2', '>u2', '|u1', '|i1']
const npyFiles = fc
  .tuple(arraysOf(numpy, /^[<>|]/), fc.constantFrom(1, 2, 3), few)
  .map(([made, version, rest]) => npy(made, version, rest))

/** An archive of stored and deflated members. */
function zip(members: readonly { name: string; bytes: Uint8Array; deflated: boolean }[]): Uint8Array {
  const parts: Uint8Array[] = []
  const directory: Uint8Array[] = []
  let at = 0
  for (const { name, bytes, deflated } of members) {
    const packed = deflated ? deflateRawSync(bytes) : bytes
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(deflated ? 8 : 0, 4)
    common.writeUInt32LE(crc32(bytes), 10)
    common.writeUInt32LE(packed.length, 14)
    common.writeUInt32LE(bytes.length, 18)
    common.writeUInt16LE(name.length, 22)
    const entry = Buffer.alloc(14)
    entry.writeUInt32LE(at, 10)
    parts.push(Buffer.from('PK\x03\x04'), common, Buffer.from(name), packed)
    directory.push(Buffer.from('PK\x01\x02\x14\0'), common, entry, Buffer.from(name))
    at += 30 + name.length + packed.length
  }
  const listed = Buffer.concat(directory)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(members.length, 4)
  end.writeUInt16LE(members.length, 6)
  end.writeUInt32LE(listed.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...parts, listed, Buffer.from('PK\x05\x06'), end])
}

const npzFiles = fc.tuple(npyFiles, npyFiles, fc.boolean(), fc.boolean()).map(([one, other, first, second]) =>
  zip([
    { name: 'other.npy', bytes: other, deflated: first },
    { name: 'w.npy', bytes: one, deflated: second },
  ]),
)

const safeNames: Readonly<Record<string, string>> = {
  f8: 'F64',
  f4: 'F32',
  f2: 'F16',
  BF16: 'BF16',
  i2: 'I16',
  u1: 'U8',
}
const safeFiles = fc
  .tuple(arraysOf(Object.keys(safeNames), /^$/), few, few)
  .map(([{ type, shape, data }, before, after]) => {
    const from = before.length
    const header = JSON.stringify({
      __metadata__: { made: 'for a test' },
      before: { dtype: 'U8', shape: [from], data_offsets: [0, from] },
      w: { dtype: safeNames[type], shape, data_offsets: [from, from + data.length] },
    })
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    return Buffer.concat([length, Buffer.from(header), before, data, after])
  })

/** Numbers that every one of those types can hold. */
const exact = {
  bytes: fc
    .array(fc.nat(120), { maxLength: 20 })
    .map(numbers => new Uint8Array(Float64Array.from(numbers).buffer)),
  step: 8,
}

describe('npy?as=f64', () =>
  lensContract(tensorLens('npy', { as: 'f64' }), { backings: npyFiles, put: exact }))

describe('npz?as=f64&name=w', () =>
  lensContract(tensorLens('npz', { as: 'f64', name: 'w' }), { backings: npzFiles }))

describe('safetensors?as=f64&name=w', () =>
  lensContract(tensorLens('safetensors', { as: 'f64', name: 'w' }), { backings: safeFiles, put: exact }))
