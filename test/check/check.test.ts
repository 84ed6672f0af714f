import { expect, test } from 'vitest'
import type { CheckFinding } from '../../src/check/index.ts'
import { parseSuppressions, sarifReport } from '../../src/check/index.ts'
import { cannotCompile, checked, compiled } from './programs.ts'

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

when('an error names the size, the block and where the block was taken', () => {
  const { findings, errors } = checked(compiled('test/guests/check/heap.c', '-O0'), ['over'])
  const [finding] = findings
  expect(errors).toBe(1)
  expect(finding).toMatchObject({ size: 1, block: { size: 10 } })
  expect((finding?.address ?? 0) - (finding?.block?.start ?? 0)).toBe(10)
  expect(finding?.notes[0]?.text).toBe('0 bytes behind a block of 10 bytes, taken at')
  expect(finding?.notes[0]?.frames[0]).toMatchObject({ line: 15 })
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
  ['global', ['invalid-write'], 'behind the global variable numbers'],
  ['alloca', ['invalid-write'], 'behind a block of the stack'],
  ['returned', ['dead-local'], 'local of leave'],
  ['clean', [], ''],
] as const)('frames.c %s gives %j', (what, kinds, words) => {
  const { findings } = checked(compiled('test/guests/check/frames.c', '-O0'), [what])
  expect([...new Set(brief(findings))]).toEqual(kinds)
  if (words !== '') expect(findings[0]?.notes[0]?.text).toContain(words)
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

when('SARIF names the rule, the file and the line', () => {
  const result = checked(compiled('test/guests/check/heap.c', '-O0'), ['over'])
  const { runs } = sarifReport('heap.wasm', result, '1.0.0') as {
    runs: { results: { ruleId: string; locations: { physicalLocation: object }[] }[] }[]
  }
  const [found] = runs[0]?.results ?? []
  expect(found?.ruleId).toBe('invalid-write')
  expect(found?.locations[0]?.physicalLocation).toMatchObject({ region: { startLine: 20 } })
})

// The lecture's bugs: those whose error is one with memory on this machine. The others (06: a pointer is moved instead of a
// number; 03: an int is as long as a pointer here; 05: one member of a struct runs into the next) touch nothing that is not theirs.
when.each([
  ['02-uninitialised', 'uninitialised-branch', 9],
  ['04-off-by-one', 'invalid-write', 9],
  ['08-address-of-local', 'dead-local', 20],
  ['09-double-free', 'double-free', 13],
  ['10-use-after-free', 'use-after-free', 11],
] as const)('examples/bugs/%s.c: %s', (name, kind, line) => {
  const { findings } = checked(compiled(`examples/bugs/${name}.c`, '-O0'), [])
  const [first] = findings
  expect(first?.kind).toBe(kind)
  const lines = [...(first?.frames ?? []), ...(first?.notes ?? []).flatMap(note => note.frames)]
    .filter(frame => frame.file?.endsWith(`${name}.c`))
    .map(frame => frame.line)
  expect(lines).toContain(line)
})
