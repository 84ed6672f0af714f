/** Trace formats, and what is said of those that are damaged. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { detectFormat, magic, type TraceFormat, TraceReader } from '../../src/machine/trace.ts'
import { readTrace, TraceSource } from '../../src/machine/trace-file.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-trace-'))
afterAll(() => removeFolder(folder))

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const letters = ['R', 'W', 'I', 'O']

function show(words: Uint32Array, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const high = words[i * 2 + 1] as number
    const address = ((high & 0xffff) * 2 ** 32 + (words[i * 2] as number)).toString(16)
    return high >>> 28 === 15
      ? `process ${address}`
      : `${letters[high >>> 28]} ${address} ${(high >>> 16) & 0xfff}`
  })
}

async function read(path: string, format?: TraceFormat): Promise<{ format: TraceFormat; records: string[] }> {
  const records: string[] = []
  const found = await readTrace(path, (words, count) => records.push(...show(words, count)), format)
  return { format: found, records }
}

const lackey = '==12== lackey\nI  04016b80,3\n L 1ffefff8,8\n S 1ffefff0,4\n M 0421ca0,4\n==12== end\n'
const lackeyRecords = ['I 4016b80 3', 'R 1ffefff8 8', 'W 1ffefff0 4', 'R 421ca0 4', 'W 421ca0 4']

function words(...pairs: readonly (readonly [number, number])[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(pairs.flat()).buffer)
}

describe('a trace is read:', () => {
  test.each<[string, string | Uint8Array, TraceFormat, string[]]>([
    ['a.lackey', lackey, 'lackey', lackeyRecords],
    ['b.gz', gzipSync(lackey), 'lackey', lackeyRecords],
    ['c.zst', zstdCompressSync(Buffer.from(lackey)), 'lackey', lackeyRecords],
    [
      'd.din',
      '2 408ed4\n0 10019d94\n1 10019d88 comment\n',
      'din',
      ['I 408ed4 4', 'R 10019d94 4', 'W 10019d88 4'],
    ],
    [
      'e.txt',
      'r 1000 8\nw 0x1004 4\ni 400000 10\nm 20 1\n',
      'xdin',
      ['R 1000 8', 'W 1004 4', 'I 400000 16', 'O 20 1'],
    ],
    ['e.trace', 's 0x1fffff50 1\nl 0x1fffff58 12\n', 'ls', ['W 1fffff50 4', 'R 1fffff58 4']],
    [
      'f.txt',
      '# pages\n0x1f80\n8064 W\n17,R\r\n3: 4096\n1: 1 I',
      'addresses',
      ['R 1f80 1', 'W 1f80 1', 'R 11 1', 'process 3', 'R 1000 1', 'process 1', 'I 1 1'],
    ],
    ['g.txt', '0041f7a0 R\n13f5e2c0 W\n00000010 R\n', 'hex', ['R 41f7a0 1', 'W 13f5e2c0 1', 'R 10 1']],
    ['h.u32', words([1, 0xffffffff]), 'u32', ['R 1 1', 'R ffffffff 1']],
    ['i.u64', words([0x1000, 0x7ffe]), 'u64', ['R 7ffe00001000 1']],
    ['j.dinb', words([0x1000, 4 | (2 << 16)], [8, 8 | (1 << 16)]), 'dinb', ['I 1000 4', 'W 8 8']],
    [
      'k.bin',
      Buffer.concat([
        Buffer.from(magic),
        words([9, (15 << 28) | (1 << 16)], [4096, (1 << 28) | (8 << 16) | 2]),
      ]),
      'lethe',
      ['process 9', 'W 200001000 8'],
    ],
    // A block of three instructions; a load of 8 bytes with one behind it; a store of the left part of a word.
    [
      'l.pixie32',
      Buffer.from('3c00010001001007' + '07001002', 'hex'),
      'pixie32',
      ['I 400 4', 'I 404 4', 'I 408 4', 'I 40c 4', 'R 1000 8', 'I 410 4', 'W 1000 3'],
    ],
    // The header, where the text begins, a block of two, a system call.
    [
      'm.pixie64',
      Buffer.from('0f00000000000000' + '0012000010000000' + '020c000000000010' + '000e000000000004', 'hex'),
      'pixie64',
      ['I 10000040 4', 'I 10000044 4', 'I 10000048 4', 'O 4 4'],
    ],
    ['empty', '', 'addresses', []],
  ])('%s', async (name, content, format, records) => {
    expect(await read(file(name, content))).toEqual({ format, records })
  })

  test('in chunks of any size', () => {
    const whole = `${lackey.repeat(3)} L 10,1`
    for (let size = 1; size < 40; size++) {
      const records: string[] = []
      const reader = new TraceReader('t', 'lackey', (w, count) => records.push(...show(w, count)), 3)
      for (let at = 0; at < whole.length; at += size)
        reader.push(Buffer.from(whole.slice(at, at + size)), false)
      reader.push(new Uint8Array(0), true)
      expect(records).toEqual([...lackeyRecords, ...lackeyRecords, ...lackeyRecords, 'R 10 1'])
    }
  })

  test('as much of it at a time as somebody wants', async () => {
    const path = file('take.txt', Array.from({ length: 40_000 }, (_, i) => `0x${i.toString(16)}`).join('\n'))
    const source = new TraceSource(path)
    const into = new Uint32Array(2 * 999)
    const got: number[] = []
    for (let end = into.length; end === into.length; ) {
      end = await source.take(into, 0)
      for (let i = 0; i < end; i += 2) got.push(into[i] as number)
    }
    expect(got).toEqual(Array.from({ length: 40_000 }, (_, i) => i))
  })
})

describe('says in one sentence, with the line, what is wrong:', () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ['1.lackey', `${lackey} L 12345\n`, /1\.lackey, line 7: ' L 12345' is no record: /],
    ['2.lackey', `${lackey} L 12345,\n`, /line 7: ' L 12345,' has no size/],
    ['3.lackey', `${lackey} L 12345,0\n`, /line 7: an access of 0 bytes; there are those of 1 to 4095/],
    [
      '4.lackey',
      `${lackey} L ffffffffff600000,8\n`,
      /line 7: the address 0xffffffffff600000 has more than 48 bits/,
    ],
    ['5.din', '2 400\n7 400\n', /line 2: label 7: there are 0 read/],
    ['6.din', '2 400\n1 xyz\n', /line 2: '1 xyz' is no record/],
    // What has more than 32 bits is not what is left of it.
    ['6.lackey', `${lackey} L 12345,4294967300\n`, /line 7: an access of 4294967300 bytes/],
    ['6.xdin', 'r 400 100000004\n', /line 1: an access of 4294967300 bytes/],
    ['6.txt', '4294967297:0x10\n', /line 1: process 4294967297: there are 1 to 1048575/],
    ['7.xdin', 'r 400\n', /line 1: 'r 400' is no record/],
    ['8.ls', 'l 0x400 1\nm 0x400 1\n', /line 2: 'm 0x400 1' is no record: l or s/],
    ['8.txt', '17\n12 Q\n1\n2\n3\n4\n', /line 2: '12 Q' is no record/],
    [
      '9.u64',
      words([1, 2], [3, 4]).subarray(0, 13),
      /byte 8: the last record has 5 of 8 bytes: the trace has been cut off/,
    ],
    [
      '10.bin',
      Buffer.concat([Buffer.from(magic), words([0, 5 << 28])]),
      /byte 8: there is no record of kind 5/,
    ],
    ['10.dinb', words([0x1000, 4], [0x1004, 4 | (9 << 16)]), /byte 8: label 9: there are 0 read/],
    ['10b.dinb', words([0x1000, 0]), /byte 0: an access of 0 bytes/],
    ['10.pixie64', words([0, 0]), /byte 0: a header of type 0 instead of 15/],
    ['10.pixie32', Buffer.from('0f000000', 'hex'), /byte 0: there is no record of type 15/],
    [
      '11.gz',
      gzipSync(lackey.repeat(100)).subarray(0, 60),
      /11\.gz is damaged: it can't be decompressed to its end/,
    ],
    [
      '12.pdf',
      '%PDF-1.4 hello\nworld and more\n',
      /12\.pdf is no trace that we know: name its format with --format/,
    ],
  ])('%s', async (name, content, message) => {
    const path = file(name, content)
    await expect(read(path)).rejects.toThrow(message)
    await expect(read(path)).rejects.toMatchObject({ code: 'trace' })
  })

  test('a file that is not there', async () => {
    await expect(read('/none/trace')).rejects.toThrow("/none/trace can't be read (ENOENT)")
  })
})

test('a name says more than the contents where both could be', () => {
  const text = Buffer.from('0 1000\n1 1004\n')
  expect(detectFormat('a.din', text)).toBe('din')
  expect(detectFormat('a.hex', Buffer.from('1000\n'))).toBe('hex')
})
