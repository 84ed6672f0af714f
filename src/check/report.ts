// Findings as people read them, as JSON and as SARIF 2.1.0.
import { pathToFileURL } from 'node:url'
import type { CheckResult } from './check.ts'
import type { CheckFinding, CheckFrame, ErrorKind } from './errors.ts'

/** What a kind means: the rules of SARIF, and the table of the documentation. */
export const kinds: Readonly<Record<ErrorKind, string>> = {
  'invalid-read': 'A read outside of the block, the variable or the memory that its pointer is for.',
  'invalid-write': 'A write outside of the block, the variable or the memory that its pointer is for.',
  'use-after-free': 'An access to a block of the heap that was given back.',
  'dead-local':
    'An access to a local variable of a function that has returned, or of a block that has ended.',
  'null-pointer': 'An access through a null pointer, or close to one.',
  'wild-pointer': 'An access to memory that was never taken, or behind the end of memory.',
  'uninitialised-branch': 'A decision that depends on memory that was never set.',
  'uninitialised-address': 'An address that depends on memory that was never set.',
  'uninitialised-argument': 'Memory that was never set is given to the host or to the C library.',
  'invalid-free': 'free, delete or realloc of what is not the start of a block.',
  'double-free': 'free or delete of a block that is free already.',
  'mismatched-free': 'A block made by one of malloc, new and new[] is given back by another’s partner.',
  overlap: 'memcpy, strcpy or the like between ranges that overlap.',
  'bad-size': 'malloc is asked for a negative size.',
  trap: 'The engine ended the program.',
  'leak-definite': 'A block that nothing points to.',
  'leak-indirect': 'A block that only lost blocks point to.',
  'leak-possible': 'A block that only pointers into its middle point to.',
  'leak-reachable': 'A block that was not given back, but can be.',
}

const shown = 20

/** `function (file:line)`. */
function frameText({ name, file, line }: CheckFrame): string {
  return file === undefined ? name : `${name} (${file.split('/').at(-1)}:${line ?? '?'})`
}

function stackText(frames: readonly CheckFrame[], indent: string): string[] {
  const lines = frames
    .slice(0, shown)
    .map((frame, i) => `${indent}${i === 0 ? 'at' : 'by'} ${frameText(frame)}`)
  return frames.length > shown ? [...lines, `${indent}… and ${frames.length - shown} more`] : lines
}

/** One finding, in lines. */
export function findingText(finding: CheckFinding): string {
  const { kind, message, frames, notes } = finding
  return [
    `${kind}: ${message}`,
    ...stackText(frames, '    '),
    ...notes.flatMap(note => [`  ${note.text}`, ...stackText(note.frames, '    ')]),
  ].join('\n')
}

/** The sums at the end, in lines. */
export function summaryText(result: CheckResult): string {
  const { heap, leaks, errors, findings, suppressed } = result
  const lines = [
    `heap: ${heap.allocations} blocks taken, ${heap.frees} given back, ${heap.bytes} bytes taken in all`,
  ]
  if (!result.hasAllocator)
    lines.push(
      'heap: the program has no malloc by name (it is stripped, or has none): its blocks are not told apart',
    )
  if (leaks !== undefined)
    for (const [name, sum] of [
      ['definitely lost', leaks.definite],
      ['indirectly lost', leaks.indirect],
      ['possibly lost', leaks.possible],
      ['still reachable', leaks.reachable],
    ] as const)
      if (sum.blocks > 0) lines.push(`${name}: ${sum.bytes} bytes in ${sum.blocks} blocks`)
  const places = findings.length
  lines.push(
    `ERROR SUMMARY: ${errors} error${errors === 1 ? '' : 's'} from ${places} place${places === 1 ? '' : 's'} (suppressed: ${suppressed})`,
  )
  return lines.join('\n')
}

/** The document of --json. */
export function jsonReport(path: string, result: CheckResult): object {
  return { program: path, ...result }
}

interface SarifLocation {
  readonly physicalLocation?: object
  readonly logicalLocations: readonly object[]
  readonly message?: object
}

function location(frame: CheckFrame, text?: string): SarifLocation {
  const { file, line, name } = frame
  return {
    ...(file === undefined
      ? {}
      : {
          physicalLocation: {
            artifactLocation: { uri: file.startsWith('/') ? pathToFileURL(file).href : file },
            ...(line === undefined || line < 1 ? {} : { region: { startLine: line } }),
          },
        }),
    logicalLocations: [{ name, kind: 'function' }],
    ...(text === undefined ? {} : { message: { text } }),
  }
}

const stack = (text: string, frames: readonly CheckFrame[]): object => ({
  message: { text },
  frames: frames.map(frame => ({ location: location(frame) })),
})

/** The findings as a SARIF log; `version` is ours. */
export function sarifReport(path: string, result: CheckResult, version: string): object {
  const rules = Object.keys(kinds) as ErrorKind[]
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'lethe check',
            version,
            rules: rules.map(id => ({ id, shortDescription: { text: kinds[id] } })),
          },
        },
        artifacts: [{ location: { uri: pathToFileURL(path).href } }],
        results: result.findings.map(finding => sarifResult(finding, rules)),
      },
    ],
  }
}

function sarifResult(finding: CheckFinding, rules: readonly ErrorKind[]): object {
  const { kind, message, frames, notes, count } = finding
  const own = frames.find(frame => frame.file !== undefined) ?? frames[0]
  const related = notes.flatMap(note => {
    const frame = note.frames.find(one => one.file !== undefined)
    return frame === undefined ? [] : [location(frame, note.text)]
  })
  return {
    ruleId: kind,
    ruleIndex: rules.indexOf(kind),
    level: kind === 'leak-reachable' ? 'note' : kind.startsWith('leak-') ? 'warning' : 'error',
    message: { text: [message, ...notes.map(note => note.text)].join('; ') },
    locations: own === undefined ? [] : [location(own)],
    relatedLocations: related,
    stacks: [
      stack(message, frames),
      ...notes.filter(note => note.frames.length > 0).map(note => stack(note.text, note.frames)),
    ],
    occurrenceCount: Math.max(1, count),
  }
}
