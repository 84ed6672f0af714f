import { expect, test } from 'vitest'
import type { CheckFinding } from '../../src/check/index.ts'
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
  ['strings', []],
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
  ['global', ['invalid-write'], 'behind the global variable numbers'],
  ['alloca', ['invalid-write'], 'behind a block of the stack'],
  ['returned', ['dead-local'], 'local of leave'],
  ['clean', [], ''],
] as const)('frames.c %s gives %j', (what, kinds, words) => {
  const { findings } = checked(compiled('test/guests/check/frames.c', '-O0'), [what])
  expect([...new Set(brief(findings))]).toEqual(kinds)
  if (words !== '') expect(findings[0]?.notes[0]?.text).toContain(words)
})

when.each(['-O1', '-O2', '-Os'])('the clean parts are silent at %s too', level => {
  for (const [file, what] of [
    ['heap', ''],
    ['values', 'copy'],
    ['values', 'strings'],
    ['frames', 'clean'],
  ] as const) {
    const guest = compiled(`test/guests/check/${file}.c`, level)
    expect(brief(checked(guest, [what]).findings)).toEqual([])
  }
})

when('a program prints the same checked as not', () => {
  const guest = compiled('test/guests/check/values.c', '-O0')
  expect(checked(guest, ['strings']).out).toBe('hello 12\n')
})
