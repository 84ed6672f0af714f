import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CheckFinding, LeakKind } from '../../src/check/index.ts'
import { parseSuppressions, sarifReport } from '../../src/check/index.ts'
import { instrumented } from '../../src/check/check.ts'
import { Program } from '../../src/check/program.ts'
import { scanTargets } from '../../src/check/scanf.ts'
import { run } from '../../src/guest/instance.ts'
import { parseMalloc } from '../../src/guest/malloc-functions.ts'
import { Reader } from '../../src/wasm/bytes.ts'
import { decode, Section } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { Cursor } from '../../src/wasm/instructions.ts'
import type { Func } from '../../src/wasm/module.ts'
import { OP } from '../../src/wasm/opcode-table.ts'
import { root } from '../cli-helpers.ts'
import { cannotCompile, checked, compiled, optimised, stripped } from './programs.ts'

const why = cannotCompile()
const when = test.skipIf(why !== undefined)

const brief = (findings: readonly CheckFinding[]): string[] => findings.map(({ kind }) => kind)
const lineOf = ({ frames }: CheckFinding, file: string): number | undefined =>
  frames.find(frame => frame.file?.endsWith(file))?.line

when.each([
  ['over', 'invalid-write', 20],
  ['under', 'invalid-read', 21],
  ['neighbour', 'invalid-write', 22],
  ['freed', 'use-after-free', 25],
  ['double', 'double-free', 30],
  ['middle', 'invalid-free', 33],
  ['local', 'invalid-free', 34],
  ['overlap', 'overlap', 35],
  ['strcpy', 'invalid-write', 36],
  ['null', 'null-pointer', 37],
  ['leak', 'leak-definite', 9],
] as const)('heap.c %s: one %s, at line %i', (what, kind, line) => {
  const { findings } = checked(compiled('test/guests/check/heap.c', '-O0'), [what])
  expect(brief(findings)).toEqual([kind])
  expect(lineOf(findings[0] as CheckFinding, 'heap.c')).toBe(line)
})

when.each([
  ['unset', ['uninitialised-branch'], [30]],
  ['word', ['uninitialised-branch'], [33]],
  ['half', ['uninitialised-branch'], [38]],
  ['same', [], []],
  ['other', ['uninitialised-branch'], [50]],
  ['freed', ['use-after-free', 'use-after-free'], [12, 12]],
] as const)('change.c %s: what is changed in place is followed', (what, kinds, lines) => {
  const source = 'test/guests/check/change.c'
  for (const guest of [compiled(source, '-O0'), optimised(source, '-O2')]) {
    const { findings } = checked(guest, [what])
    expect(brief(findings)).toEqual(kinds)
    expect(findings.map(finding => lineOf(finding, 'change.c'))).toEqual(lines)
  }
})

when.each(['--no-stack-first', '--stack-first'])('a stack that is used up is named: %s', order => {
  const source = 'test/guests/check/deep.c'
  const layout = order === '--stack-first' ? [`-Wl,${order}`] : []
  const { findings } = checked(compiled(source, '-O0', ...layout), ['deep'])
  const said = findings.flatMap(({ notes }) => notes.map(({ text }) => text))
  expect(said.filter(text => text.startsWith('the stack is used up'))).not.toEqual([])
  expect(brief(checked(compiled(source, '-O0', ...layout), ['flat']).findings)).toEqual([])
  const more = checked(compiled(source, '-O0', '-Wl,-z,stack-size=1048576', ...layout), ['deep'])
  expect(brief(more.findings)).toEqual([])
})

when('free of what is data, not of the stack, says so', () => {
  const { findings } = checked(compiled('test/guests/check/deep.c', '-O0'), ['text', 'table'])
  expect(findings.map(({ kind, notes }) => [kind, notes[0]?.text])).toEqual([
    ['invalid-free', 'in the data that the program starts with'],
    ['invalid-free', '4 bytes into the global variable table (4000 bytes)'],
  ])
})

when('an error names the size, the block and where the block was taken', () => {
  const { findings, errors } = checked(compiled('test/guests/check/heap.c', '-O0'), ['over'])
  const [finding] = findings
  expect(errors).toBe(1)
  expect(finding).toMatchObject({ size: 1, block: { size: 10 } })
  expect((finding?.address ?? 0) - (finding?.block?.start ?? 0)).toBe(10)
  expect(finding?.notes[0]?.text).toBe('0 bytes behind a block of 10 bytes, taken at')
  expect(finding?.notes[0]?.frames[0]).toMatchObject({ line: 15 })
})

when.each([
  ['read', 1, 1],
  ['read', 8, 8],
  ['write', 4, 4],
  ['write', 4, 8],
  ['write', 1090, 2],
  ['read', 1088, 4],
  ['write', 2176, 8],
])('a %s %i bytes before a null pointer, of %i bytes, is told', (how, before, size) => {
  const guest = compiled('test/guests/check/end.c', '-O0')
  const { findings } = checked(guest, [how, `${before}`, `${size}`])
  expect(brief(findings)).toEqual(['wild-pointer', 'trap'])
  expect(findings[0]).toMatchObject({ size, address: 2 ** 32 - before })
})

when.each([16, 1088, 2176])('%i bytes before a null pointer there is no block to free', before => {
  const { findings, exitCode } = checked(compiled('test/guests/check/end.c', '-O0'), [
    'free',
    `${before}`,
    '0',
  ])
  expect(brief(findings)).toEqual(['invalid-free'])
  expect(exitCode).toBe(0)
})

when('a program without errors has none, and all that it took is given back', () => {
  const { findings, errors, leaks, heap } = checked(compiled('test/guests/check/heap.c', '-O0'), [])
  expect(findings).toEqual([])
  expect(errors).toBe(0)
  expect(leaks?.definite).toEqual({ blocks: 0, bytes: 0 })
  expect(heap.allocations - heap.frees).toBe(leaks?.reachable.blocks)
})

when.each([
  ['branch', ['uninitialised-branch']],
  ['stack', ['uninitialised-branch']],
  ['address', ['uninitialised-address']],
  ['write', ['uninitialised-branch', 'uninitialised-argument']],
  ['bit', []],
  ['otherbit', ['uninitialised-branch']],
  ['copy', []],
  ['float', []],
  ['strings', []],
  ['words', []],
  ['format', []],
  ['shorts', []],
  ['hole', ['uninitialised-branch']],
  ['behind', ['invalid-write']],
] as const)('values.c %s gives %j', (what, kinds) => {
  const { findings } = checked(compiled('test/guests/check/values.c', '-O0'), [what])
  expect(brief(findings)).toEqual(kinds)
})

when('the origin of an undefined value is the place that took the block', () => {
  const { findings } = checked(compiled('test/guests/check/values.c', '-O0'), ['branch'])
  const [note] = findings[0]?.notes ?? []
  expect(note?.frames[0]).toMatchObject({ line: 18 })
  expect(findings[0]?.frames[0]).toMatchObject({ name: 'decide', line: 12 })
})

when.each([
  ['array', ['invalid-write'], 'behind the local variable second of'],
  ['below', ['invalid-write'], 'before the local variable third of'],
  ['constant', ['invalid-write'], '0 bytes behind the local variable five of constant (20 bytes)'],
  ['first', ['invalid-read'], '8 bytes before the local variable five of below (20 bytes)'],
  ['lowest', ['invalid-read'], '8 bytes before the local variable numbers of lowest (32 bytes)'],
  ['global', ['invalid-write'], 'behind the global variable numbers'],
  ['few', ['invalid-write'], '8 bytes into the global variable few (10 bytes)'],
  ['alloca', ['invalid-write'], 'behind a block of the stack'],
  ['room', ['invalid-write'], 'behind a block of the stack (16 bytes)'],
  ['returned', ['dead-local'], 'local of leave'],
  ['member', ['invalid-write'], 'the last byte is behind name (8 bytes), a member of the local variable two'],
  [
    'appended',
    ['invalid-write'],
    'the last 2 are behind name (8 bytes), a member of the global variable records',
  ],
  ['whole', [], ''],
  ['clean', [], ''],
] as const)('frames.c %s gives %j', (what, kinds, words) => {
  const { findings } = checked(compiled('test/guests/check/frames.c', '-O0'), [what])
  expect([...new Set(brief(findings))]).toEqual(kinds)
  if (words !== '') expect(findings[0]?.notes[0]?.text).toContain(words)
})

when.each([
  ['', [], ''],
  ['leaf', ['invalid-read'], '0 bytes behind the local variable many of leafs (160 bytes)'],
  ['calls', ['invalid-write'], '0 bytes behind the local variable many of calls (40 bytes)'],
] as const)('in frames that are rounded down, too: aligned.c %s gives %j', (what, kinds, words) => {
  const { findings } = checked(compiled('test/guests/check/aligned.c', '-O0'), [what])
  expect(brief(findings).slice(0, 1)).toEqual(kinds)
  if (words !== '') expect(findings[0]?.notes[0]?.text).toContain(words)
})

when.each([
  [[], [], '-5 190 1 6\n'],
  [['39', '39'], [], '-5 190 1 6\n'],
  [
    ['40', '0'],
    [['invalid-write', 22, '0 bytes behind a block of the stack (40 bytes), taken at']],
    '-5 190 1 3\n',
  ],
  [
    ['0', '40'],
    [['invalid-write', 30, '0 bytes behind a block of the stack (40 bytes), taken at']],
    '-5 190 1 3\n',
  ],
] as const)('arrays of variable length, to the byte: vla.c %j', (args, wanted, text) => {
  const { findings, out } = checked(compiled('test/guests/check/vla.c', '-O0'), [...args])
  expect(out).toBe(text)
  expect(
    findings
      .filter(one => one.kind !== 'invalid-read')
      .map(one => [one.kind, lineOf(one, 'vla.c'), one.notes[0]?.text]),
  ).toEqual(wanted)
})

when.each([
  [[], []],
  [['9', '3'], []],
  [
    ['10'],
    [
      'invalid-write main:14 0 bytes behind the global variable b (10 bytes)',
      'invalid-read main:23 0 bytes behind the global variable b (10 bytes)',
    ],
  ],
  [['3', '4'], ['invalid-read main:18 0 bytes behind the global variable t (48 bytes)']],
  [['3', '0', '1'], ['overlap strcat: ']],
] as const)('an array whose address is in the access: indices.c %j', (args, wanted) => {
  const { findings } = checked(compiled('test/guests/check/indices.c', '-O0'), [...args])
  const told = findings.map(
    ({ kind, frames: [at], notes }) => `${kind} ${at?.name}:${at?.line ?? ''} ${notes[0]?.text ?? ''}`,
  )
  expect(told).toEqual(wanted)
})

when.each([
  ['', []],
  ['over', ['over in the local variable inner of over, whose block has ended']],
  ['first', ['first in the local variable a of first, whose block has ended']],
] as const)('variables end with their block: blocks.c %s gives %j', (what, wanted) => {
  const guest = compiled('test/guests/check/blocks.c', '-O0')
  expect(checked(guest, [what])).toMatchObject({ out: '30 10 50 8\n255\n', findings: [] })
  const { findings, out } = checked(guest, [what], { useAfterScope: true })
  expect(out).toBe('30 10 50 8\n255\n')
  expect(brief(findings)).toEqual(wanted.map(() => 'dead-local'))
  expect(findings.map(({ frames: [at], notes }) => `${at?.name} ${notes[0]?.text}`)).toEqual(wanted)
})

when("a library's variable that only its own code tells of is nobody's end", () => {
  const { findings, out } = checked(compiled('test/guests/check/errno.c', '-O0'), [])
  expect(out).toBe('1\n')
  expect(brief(findings)).toEqual([])
})

when('a pointer goes with its block when realloc moves that; who stays is told', () => {
  const guest = compiled('test/guests/check/moved.c', '-O0')
  expect(checked(guest, [])).toMatchObject({ out: '2\n', findings: [] })
  const { findings, out } = checked(guest, ['stays'])
  expect(out).toBe('1\n')
  expect(brief(findings)).toEqual(['use-after-free'])
})

when.each([
  ['', []],
  ['over', ['invalid-write', '0 bytes behind a block of 3003000 bytes, taken at', 23]],
  ['under', ['invalid-write', '1 byte before a block of 3003000 bytes, taken at', 24]],
  ['unset', ['uninitialised-branch', 'it was never set in a block taken at', 19]],
  ['freed', ['use-after-free', '1501500 bytes into a block of 3003000 bytes that was freed at', 30]],
] as const)(
  'a block that grows in small steps moves seldom, and its ends are known: grown.c %s',
  (what, wanted) => {
    const { findings, out, heap } = checked(compiled('test/guests/check/grown.c', '-O0'), [what])
    expect(out).toBe('53750268 few\n')
    expect(findings.map(one => [one.kind, one.notes[0]?.text, lineOf(one, 'grown.c')])).toEqual(
      what === '' ? [] : [wanted],
    )
    expect(heap.allocations - heap.frees).toBe(2)
  },
)

when('what a function answers that was put into its caller has a place of its own', () => {
  const { findings, out } = checked(compiled('test/guests/check/always.c', '-O0'), [])
  expect(out).toBe('14\n')
  expect(brief(findings)).toEqual([])
})

when.each(['-O1', '-O2', '-Os'])("the frame's address is not that of its first array: %s", level => {
  const { findings, out } = checked(optimised('test/guests/check/bases.c', level), [])
  expect(out).toBe('64 6 9\n')
  expect(brief(findings)).toEqual([])
})

when(
  'the byte that tells if a static variable is constructed is no part of the variable, nor is what a thread has of its own',
  () => {
    expect(brief(checked(compiled('test/guests/check/statics.cpp', '-O0'), []).findings)).toEqual([])
  },
)

when('the ways out of a scope with something to clean up are numbers of the compiler', () => {
  const guest = compiled('test/guests/check/scopes.cpp', '-O0', '-fno-exceptions')
  expect(brief(checked(guest, []).findings)).toEqual([])
  const { findings } = checked(guest, ['over'])
  expect(findings.map(one => [one.kind, lineOf(one, 'scopes.cpp')])).toEqual([['invalid-write', 52]])
})

when.each([
  ['', []],
  ['leaf', [22]],
  ['beside', [31]],
  ['loop', [41]],
] as const)('lengths.c %s: what leaves an array is told at line %j', (what, lines) => {
  const { findings } = checked(compiled('test/guests/check/lengths.c', '-O0'), [what])
  expect(findings.filter(one => one.kind === 'invalid-write').map(one => lineOf(one, 'lengths.c'))).toEqual(
    lines,
  )
  if (what === '') expect(findings).toEqual([])
})

when.each(['-O1', '-O2'])('arrays of any length are silent at %s', level => {
  expect(brief(checked(optimised('test/guests/check/lengths.c', level), []).findings)).toEqual([])
})

when('a copy that puts words together from two may read its last word whole, and no further', () => {
  const guest = optimised('test/guests/check/words.c', '-O1')
  expect(brief(checked(guest, []).findings)).toEqual([])
  expect(brief(checked(guest, ['over']).findings)).toEqual(['invalid-read'])
})

when('a distance is a number if one of its pointers was copied as half of eight bytes, too', () => {
  const guest = optimised('test/guests/check/tokens.c', '-O1')
  expect(brief(checked(guest, []).findings)).toEqual([])
  expect(brief(checked(guest, ['bits']).findings)[0]).toMatch(/^uninitialised-/)
  expect(brief(checked(guest, ['over']).findings).length).toBeGreaterThan(0)
})

// At these levels clang may call wasm-opt, which takes the names away: then word-wise code of the library runs as it is.
when.each([
  ['heap', '-O1', ''],
  ['values', '-O2', 'copy'],
  ['values', '-Os', 'strings'],
  ['frames', '-Os', 'clean'],
] as const)(
  '%s.c is silent at %s %s',
  (file, level, what) => {
    const guest = compiled(`test/guests/check/${file}.c`, level)
    expect(brief(checked(guest, [what]).findings)).toEqual([])
  },
  30_000,
)

when('code that keeps its variables below the stack pointer is silent inside of other functions, too', () => {
  const { findings, out } = checked(stripped('test/guests/check/leaf.c'), [])
  expect(findings).toEqual([])
  expect(out).toBe('1\n5\n7\n')
})

when.each([
  ['3', 3, 4],
  ['100', 0, 0],
] as const)('a program that ends with %s holds what its locals hold', (arg, exitCode, held) => {
  const result = checked(optimised('test/guests/check/exits.c', '-O2'), [arg])
  expect(brief(result.findings)).toEqual(['leak-definite'])
  expect(result.exitCode).toBe(exitCode)
  expect(result.out).toBe(`${arg}\n`)
  expect(result.leaks?.definite).toEqual({ blocks: 1, bytes: 5 })
  expect(result.leaks?.reachable.bytes).toBeGreaterThanOrEqual(16 * held)
})

when('ranges at any alignment are copied with what is undefined in them', () => {
  const guest = compiled('test/guests/check/ranges.c', '-O0')
  const seed = String(Date.now() % 100_000)
  const plain: string[] = []
  run(guest, { args: [seed], stdout: bytes => plain.push(Buffer.from(bytes).toString()) && bytes.length })
  const clean = checked(guest, [seed])
  expect([clean.out, brief(clean.findings)], `seed ${seed}`).toEqual([plain.join(''), []])
  const { findings } = checked(guest, [seed, 'undefined'])
  expect(brief(findings), `seed ${seed}`).toEqual(['uninitialised-branch'])
  expect(findings[0]?.message).toContain('memcmp depends on')
})

when('a program prints the same checked as not', () => {
  const guest = compiled('test/guests/check/values.c', '-O0')
  expect(checked(guest, ['strings']).out).toBe('hello 12\n')
})

when('a suppression that fits keeps a finding from being told, and counts it', () => {
  const guest = compiled('test/guests/check/heap.c', '-O0')
  const suppress = parseSuppressions('the known one\nkind invalid-*\nat main in heap.c\n')
  const { findings, suppressed, errors } = checked(guest, ['over'], { suppress })
  expect({ findings, suppressed, errors }).toEqual({ findings: [], suppressed: 1, errors: 0 })
  expect(checked(guest, ['double'], { suppress }).findings).toHaveLength(1)
})

test('a suppression without a kind is an error with its line', () => {
  expect(() => parseSuppressions('\nall of it\nat main\n')).toThrow('line 2')
  expect(() => parseSuppressions('one\nkind overlap\nby main\n')).toThrow('line 3: "by main" is none of')
})

test('a format of scanf has a target for each conversion that is kept', () => {
  const targets = scanTargets('%d %*d %hhx%lf%% %3[^]a] %lld %n')
  expect(targets.map(({ size }) => size)).toEqual([4, 1, 8, 1, 8, 4])
  expect(targets[3]).toEqual({ conversion: '%3[^]a]', size: 1, argument: 3 })
  expect(scanTargets('%1$d')).toEqual([])
})

when('SARIF names the rule, the file and the line', () => {
  const result = checked(compiled('test/guests/check/heap.c', '-O0'), ['over'])
  const { runs } = sarifReport('heap.wasm', result, '1.0.0') as {
    runs: { results: { ruleId: string; locations: { physicalLocation: object }[] }[] }[]
  }
  const [found] = runs[0]?.results ?? []
  expect(found?.ruleId).toBe('invalid-write')
  expect(found?.locations[0]?.physicalLocation).toMatchObject({ region: { startLine: 20 } })
})

// Counting what the heap holds is glibc's.
const stubs = ['-I', join(root, 'test/guests/check/include')]

// The lecture's bugs: the first finding, where it is, what it touches of which block, and where that was taken or is known from.
when.each([
  ['01-bad-pointer', 'null-pointer', 7, 4, undefined, undefined],
  ['02-uninitialised', 'uninitialised-branch', 22, undefined, 'a block of 24 bytes', 9],
  ['03-element-size', 'invalid-write', 16, 4, '0 bytes behind a block of 400 bytes', 12],
  ['04-off-by-one', 'invalid-write', 9, 4, '0 bytes behind a block of 12 bytes', 7],
  ['05-string-limit', 'invalid-write', 14, 12, 'the last 4 are behind name (8 bytes)', undefined],
  ['06-pointer-not-object', 'invalid-read', 23, 4, '4 bytes before the local variable size of', undefined],
  ['07-pointer-arithmetic', 'invalid-read', 6, 4, '8 bytes behind the global variable numbers', undefined],
  ['08-address-of-local', 'dead-local', 20, 4, 'the local variable', undefined],
  ['09-double-free', 'double-free', 13, undefined, 'a block of 400 bytes that was freed', 8],
  ['10-use-after-free', 'use-after-free', 11, 4, '20 bytes into a block of 40 bytes that was freed', 8],
  ['11-leak', 'leak-definite', 16, undefined, undefined, undefined],
] as const)('examples/bugs/%s.c: %s at line %i', (name, kind, line, size, block, taken) => {
  const { findings } = checked(compiled(`examples/bugs/${name}.c`, '-O0', ...stubs), [])
  const [first] = findings as [CheckFinding]
  const file = `${name}.c`
  expect(first).toMatchObject({ kind, size })
  expect(lineOf(first, file)).toBe(line)
  expect(first.notes[0]?.text ?? '').toContain(block ?? '')
  const known = first.notes[0]?.frames.find(frame => frame.file?.endsWith(file))?.line
  expect(known).toBe(taken)
})

when('blocks hold what was written to them, however they were taken', () => {
  const seed = String(Math.floor(Math.random() * 1e6))
  for (const quarantine of [0, 1 << 20]) {
    const guest = optimised('test/guests/check/stress.c', '-O1')
    const { exitCode, findings, heap } = checked(guest, [seed], { quarantine })
    expect({ seed, exitCode, findings }).toEqual({ seed, exitCode: 0, findings: [] })
    // What the C library takes for main's arguments it keeps.
    expect(heap.allocations - heap.frees).toBe(2)
  }
})

when('an allocator of the program, named, has its blocks told apart', () => {
  const guest = compiled('test/guests/check/pool.c', '-O0')
  expect(checked(guest, []).findings).toEqual([])
  const mallocFunctions = parseMalloc(guest.module, 'malloc=pool_take,free=pool_give')
  const { findings, out } = checked(guest, [], { mallocFunctions })
  expect(out).toBe('done\n')
  expect(findings.map(one => [one.kind, lineOf(one, 'pool.c')])).toEqual([
    ['invalid-write', 28],
    ['use-after-free', 30],
  ])
})

when('a program without names has its malloc known by its shape', () => {
  const guest = compiled('test/guests/check/heap.c', '-O0', '-Wl,--strip-all')
  const { findings, hasAllocator } = checked(guest, ['double'])
  expect(hasAllocator).toBe(true)
  expect(brief(findings)).toEqual(['double-free'])
})

when('a pointer to a dead variable is known for that though others were called since', () => {
  const { findings } = checked(compiled('examples/bugs/08-address-of-local.c', '-O0'), [])
  expect(brief(findings)).toEqual(['dead-local', 'dead-local'])
  expect(findings[0]?.notes[0]?.text).toBe('in the local variable val of foo, which has returned')
})

when('leaks count as errors where their kind is asked for', () => {
  const guest = compiled('test/guests/check/heap.c', '-O0')
  const errors = (leakErrors?: ReadonlySet<LeakKind>): number =>
    checked(guest, ['leak'], leakErrors === undefined ? {} : { leakErrors }).errors
  expect([errors(), errors(new Set()), errors(new Set(['possible']))]).toEqual([1, 0, 0])
})

when.each([
  ['constant', [26]],
  ['padding', [32]],
  ['unions', [37]],
  ['pieces', []],
  ['copies', []],
  ['over', [72]],
  ['under', [79]],
  ['whole', []],
] as const)('parts.c %s: a constant index is told at line %j', (what, lines) => {
  const { findings } = checked(compiled('test/guests/check/parts.c', '-O0'), [what])
  expect(findings.map(one => lineOf(one, 'parts.c'))).toEqual(lines)
})

when('what is hinted as a rare branch is one, in the function that is named', () => {
  const { module } = compiled('test/guests/check/values.c', '-O0')
  const made = decode(encode(instrumented(new Program(module), module)))
  const section = made.customs.find(({ name }) => name === 'metadata.code.branch_hint')
  expect(section?.after).not.toBe(Section.code)
  const hints = new Reader(section?.bytes ?? new Uint8Array())
  const imported = made.imports.filter(({ kind }) => kind === 'func').length
  const branches = new Set<number | undefined>()
  for (let functions = hints.u32('count'); functions > 0; functions--) {
    const { locals, body } = made.functions[hints.u32('function') - imported] as Func
    const declared = 1 + locals.reduce((sum, { count }) => sum + (count < 128 ? 2 : 3), 0)
    const starts = new Map<number, number>()
    for (const cursor = new Cursor(body, 0); cursor.next(); ) starts.set(cursor.at, cursor.op)
    for (let count = hints.u32('count'); count > 0; count--) {
      branches.add(starts.get(hints.u32('place') - declared))
      expect([hints.u32('length'), hints.byte('hint')]).toEqual([1, 0])
    }
  }
  expect(hints.at).toBe(hints.end)
  expect(branches).toEqual(new Set([OP.if, OP.br_if]))
})
