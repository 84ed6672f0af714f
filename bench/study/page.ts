// docs/savings.md, from the results of the states. All sentences with figures are computed.
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Pattern, patterns, patternTexts } from '../../src/audit/patterns.ts'
import { pagerBytes } from '../../src/audit/cost.ts'
import { median } from '../lib/stats.ts'
import type { Result } from './measure.ts'
import type { State } from './state.ts'

const PAGE = 4096
const path = join(import.meta.dirname, '../../docs/savings.md')
/** What files hold as it is, and what a lens had to make. Pieces can be either. */
const VERBATIM: readonly Pattern[] = ['aligned', 'shifted']
const TRANSCODED: readonly Pattern[] = ['widened', 'converted', 'decompressed', 'parsed', 'columns']
/** Block sizes of which the page tells. */
const SIZES = [64, 256, 1024, 4096, 16384, 65536]
/** Whoever explains less than this is among those for which it did not work, per cent. */
const LITTLE = 10

export interface Measured {
  readonly state: State
  readonly result: Result
}

const percent = (part: number, whole: number): string =>
  whole === 0 ? '-' : ((100 * part) / whole).toFixed(1)
const megabytes = (pages: number): string => ((pages * PAGE) / 1e6).toFixed(pages * PAGE < 1e7 ? 1 : 0)
const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[], left = 1): string =>
  [row(head), row(head.map((_, i) => (i < left ? '---' : '---:'))), ...rows.map(row)].join('\n')

/** Pages that need no memory of their own: explained, zero, or put together from pieces. */
const made = ({ explained, zero, pieces }: Result): number => explained + zero + pieces
/** Of these, what has a backing: files, or a recipe. */
const backed = ({ explained, pieces }: Result): number => explained + pieces
/** Bytes that stay: pages that nothing makes, and the recipes. */
const left = (result: Result): number => (result.pages - made(result)) * PAGE + result.recipe

/** Writes docs/savings.md; `missing`: states that have not been measured; `note`: sentences on the machine. */
export function writePage(measured: readonly Measured[], missing: readonly State[], note?: string): void {
  const results = measured.map(({ result }) => result)
  const sum = (of: (result: Result) => number): number => results.reduce((total, one) => total + of(one), 0)
  const pages = sum(one => one.pages)
  const files = sum(one => one.explained)
  const of = (names: readonly Pattern[]): number =>
    sum(({ patterns: found }) => names.reduce((n, name) => n + (found[name] ?? 0), 0))
  const shares = results.map(one => (100 * one.explained) / one.pages)
  const much = shares.filter(share => share >= 60).length
  const little = shares.filter(share => share < LITTLE).length
  const used = results.filter(one => one.changed !== undefined && backed(one) * PAGE >= 1e6)
  const kept = used.map(one => 100 * (1 - (one.changed?.explained ?? 0) / backed(one)))
  const zram = results.filter(one => one.zram !== undefined)
  const total = (of: (one: Result) => number): string =>
    percent(
      zram.reduce((n, one) => n + of(one), 0),
      zram.reduce((n, one) => n + one.pages * PAGE, 0),
    )
  const gib = totalmem() / 2 ** 30

  const text = `# How much can be saved?

\`npm run study\` makes this page: it brings ${measured.length + missing.length} programs into a state in which they hold what they have read (\`bench/study/states\`), looks at
their private anonymous memory, and writes down what of it files can make again. Measured here: ${measured.length} states,
${((pages * PAGE) / 1e9).toFixed(1)} GB, on ${cpus().length} × ${cpus()[0]?.model ?? '?'}, ${gib.toFixed(0)} GiB, Linux ${release()}, Node ${process.version}, ${distribution()}, ${new Date().toISOString().slice(0, 10)}.${note === undefined ? '' : ` ${note}`} One run of each. Totals depend on the mix, which is ours; read the rows.${
    missing.length === 0
      ? ''
      : `
Not measured in this run: ${missing.map(({ name }) => name).join(', ')}.`
  }

## In short

- **How much?** Files explain ${percent(files, pages)} % of all pages, but hardly any program is average: ${much} of ${measured.length} states are explained to 60 % or more, ${little} to less than ${LITTLE} %;
  the median is ${median(shares).toFixed(0)} %. Recipes, which put a page together from parts of files, from words that count or repeat, and from a rest that
  is kept, take another ${percent(
    sum(one => one.pieces),
    pages,
  )} %; ${percent(
    sum(one => one.zero),
    pages,
  )} % are zero. Who holds a file, or an array of one, holds little else. Who has made objects of it holds headers and pointers.
- **Verbatim or transcoded?** Of the bytes that files explain ${percent(of(VERBATIM), files)} % stand there as they are (${percent(of(['aligned']), files)} % on page boundaries),
  ${percent(of(TRANSCODED), files)} % are transcoded (${TRANSCODED.map(name => `${patternTexts[name]} ${percent(of([name]), files)} %`).join(', ')}). The pages of recipes are not in these figures: they mix both.
- **Is a page too coarse?** Aligned to pages nothing would be found: malloc's headers shift everything. With shifts allowed, ${sizeSentence(results)}
- **Does it stay?** ${kept.length === 0 ? 'Not measured.' : `After the program had gone through all that it holds, the median state had ${median(kept).toFixed(1)} % of its explained pages unchanged; ${kept.filter(share => share >= 99).length} of ${kept.length} had 99 % or more, the worst had ${Math.min(...kept).toFixed(0)} %.`}
- **Beside others:** of the same pages Lethe leaves ${total(left)} %, zram (lzo-rle) ${total(one => one.zram ?? 0)} %; KSM could merge ${total(one => one.same * PAGE)} %. Lethe's pager
  and its supervisor take ${(pagerBytes / 1e6).toFixed(0)} MB more for each program while it is in use, whatever its size, and half a MB when nothing is wanted of it for some seconds; zram needs no file, and what it holds can't be changed behind its back.

## The states

${stateTables(measured)}

*Pages*: explained as whole pages, wherever in a file they begin. *Pieces*: pages that recipes make: of parts of files, of words that count up or repeat, of
other pages that stand there more than once, and a rest that is kept. *Zero*: given back
without a file. *Left*: what stays of these bytes with Lethe, recipes included and the pager not; with zram (the same pages written to a device with lzo-rle:
what the device then takes). *KSM*: what is left if all equal pages of the process are merged, counted and not run. *Changed*: of the
explained pages, and of the others, what is not as it was after the program has used what it holds.

## How memory came to hold a file's bytes

${patternTable(results)}

## By lens

${lensTable(results)}

## Pages, and smaller and larger blocks

The share of memory that files would explain if memory came in blocks of another size, each at any offset of a file. Below a page it is an estimate from a
sample of the unexplained pages, and finds what stands in the files by chance too. *Net*: with blocks of one byte repeated (zeros), which need no file, and less the
8 bytes for each block that say where it is made from.

${grainTable(measured)}

## What did not work

${failures(measured)}

## Beside an earlier study

Before Lethe there was a study with another program, which searched all bytes at every offset. Per cent of pages that are a file's *as a whole*, through a lens
too; that hold parsed *numbers* at a stride, as objects of numbers do; that are *nearly* a file's, to 90 % or more, zeros included. Lethe makes the
latter two as recipes, and others besides. Of all anonymous pages, in this table also now: copies of mapped files' pages are among them. The inputs are others
of the same kinds, and mostly of the same sizes: beside a smaller one the runtime weighs more.

${earlierTable(measured)}

${earlierSentence(measured)}

## Again

\`\`\`
npm ci && npm run study              # installs what is missing with apt, as root; about half an hour on two CPUs
npm run study -- --only vim --again  # one state anew: printed, the page stays unless all have been measured
\`\`\`

On a bare Debian 12 this is all, as root: \`apt-get install git npm\`, and in a clone \`npx -y -p node@24 -p npm@11 npm ci && npm run study\`.

A result is kept for each state in \`bench/study/results\`, so a run that was interrupted goes on where it was. A state is a small file in \`bench/study/states\`.
`
  writeFileSync(path, text)
}

const distribution = (): string =>
  /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'an unknown distribution'

function mean(results: readonly Result[], bytes: number, of: 'files' | 'net'): number {
  const pages = results.reduce((n, one) => n + one.pages, 0)
  return (
    results.reduce(
      (n, one) => n + (one.points.find(point => point.bytes === bytes)?.[of] ?? 0) * one.pages,
      0,
    ) / pages
  )
}

function sizeSentence(results: readonly Result[]): string {
  const say = (bytes: number): string => `${(100 * mean(results, bytes, 'files')).toFixed(0)} %`
  const best = SIZES.toSorted((a, b) => mean(results, b, 'net') - mean(results, a, 'net'))[0] ?? PAGE
  return `whole pages reach ${say(4096)}, blocks of 1 KiB ${say(1024)}, of 256 bytes ${say(256)}; 64 KiB ${say(65536)}. With zeros counted and 8 bytes taken off for each block, ${best} bytes are best (${(100 * mean(results, best, 'net')).toFixed(0)} % net, pages ${(100 * mean(results, 4096, 'net')).toFixed(0)} %).`
}

export function stateTables(measured: readonly Measured[]): string {
  const groups = [...new Set(measured.map(({ state }) => state.group))]
  const head = [
    'state',
    'MB',
    'pages %',
    'pieces %',
    'zero %',
    'left: Lethe %',
    'zram %',
    'KSM %',
    'changed %: explained',
    'others',
  ]
  return groups
    .map(group => {
      const rows = measured
        .filter(({ state }) => state.group === group)
        .map(({ state, result }) => {
          const { pages, explained, pieces, zero, changed, same } = result
          return [
            `${state.about}${state.note === undefined ? '' : ` (${state.note})`}`.replaceAll('|', '\\|'),
            megabytes(pages),
            percent(explained, pages),
            percent(pieces, pages),
            percent(zero, pages),
            percent(left(result), pages * PAGE),
            result.zram === undefined ? '-' : percent(result.zram, pages * PAGE),
            percent(pages - same, pages),
            changed === undefined || explained + pieces === 0
              ? '-'
              : percent(changed.explained, explained + pieces),
            changed === undefined ? '-' : percent(changed.others, pages - explained - pieces),
          ]
        })
      return `### ${group}\n\n${table(head, rows)}`
    })
    .join('\n\n')
}

function patternTable(results: readonly Result[]): string {
  const all = results.reduce((n, one) => n + backed(one), 0)
  const rows = patterns.flatMap(name => {
    const pages = results.reduce((n, one) => n + (one.patterns[name] ?? 0), 0)
    const states = results.filter(one => (one.patterns[name] ?? 0) * PAGE >= 5e6).length
    return pages === 0 ? [] : [[patternTexts[name], megabytes(pages), percent(pages, all), states]]
  })
  return table(['pattern', 'MB', '% of all made', 'states with 5 MB or more'], rows)
}

function lensTable(results: readonly Result[]): string {
  const all = results.reduce((n, one) => n + backed(one), 0)
  const lenses = new Map<string, { pages: number; states: number }>()
  for (const result of results)
    for (const [lens, pages] of Object.entries(result.lenses)) {
      // Offsets and columns are of no interest here.
      const name = lens.replaceAll(/@\d+/g, '@…').replaceAll(/(numbers-\w+|csv|ndjson)[:/][^|]*/g, '$1')
      const sum = lenses.get(name) ?? { pages: 0, states: 0 }
      lenses.set(name, { pages: sum.pages + pages, states: sum.states + (pages * PAGE >= 1e6 ? 1 : 0) })
    }
  const rows = [...lenses]
    .filter(([, { pages }]) => pages * PAGE >= 1e6)
    .toSorted(([, a], [, b]) => b.pages - a.pages)
    .map(([name, { pages, states }]) => [
      `\`${name.replaceAll('|', '\\|')}\``,
      megabytes(pages),
      percent(pages, all),
      states,
    ])
  return table(['lens', 'MB', '% of all made', 'states with 1 MB or more'], rows)
}

function grainTable(measured: readonly Measured[]): string {
  const groups = [...new Set(measured.map(({ state }) => state.group))]
  const name = (bytes: number): string => (bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`)
  const cells = (results: readonly Result[]): string[] =>
    SIZES.map(
      bytes =>
        `${(100 * mean(results, bytes, 'files')).toFixed(0)} (${(100 * mean(results, bytes, 'net')).toFixed(0)})`,
    )
  const rows = groups.map(group => [
    group,
    ...cells(measured.filter(({ state }) => state.group === group).map(({ result }) => result)),
  ])
  return table(
    ['% of memory (net)', ...SIZES.map(name)],
    [...rows, ['**all**', ...cells(measured.map(({ result }) => result))]],
  )
}

function failures(measured: readonly Measured[]): string {
  const poor = measured
    .filter(({ result }) => (100 * result.explained) / result.pages < LITTLE)
    .toSorted((a, b) => b.result.pages - a.result.pages)
  const worse = measured.filter(({ result }) => result.zram !== undefined && left(result) > result.zram)
  const shared = measured.filter(({ result }) => result.shared >= 16e6)
  const copies = measured
    .map(({ state, result }) => [state.name, Math.max(0, result.anonymous - result.pages * PAGE)] as const)
    .toSorted(([, a], [, b]) => b - a)
  const lines = poor.map(({ state, result }) => {
    const point = (bytes: number): string =>
      (100 * (result.points.find(one => one.bytes === bytes)?.files ?? 0)).toFixed(0)
    const zram =
      result.zram === undefined ? '' : `; zram leaves ${percent(result.zram, result.pages * PAGE)} %`
    return `| ${state.group}: ${state.about} | ${megabytes(result.pages)} | ${percent(result.explained, result.pages)} | ${percent(result.pieces, result.pages)} | ${point(256)} | ${point(64)} | ${percent(left(result), result.pages * PAGE)}${zram} |`
  })
  return [
    `- ${poor.length} states have less than ${LITTLE} % of their pages in files:`,
    '',
    '| state | MB | pages % | pieces % | in blocks of 256 B % | of 64 B % | left % |\n|---|---:|---:|---:|---:|---:|---|',
    ...lines,
    '',
    `- In ${worse.length} of ${measured.length} states zram leaves less than Lethe does without \`--pack\`: ${worse.map(({ state }) => state.name).join(', ')}. What files don't explain only compression makes smaller.`,
    `- Not all anonymous memory is in these tables: copies of mapped files' pages, which a program makes by writing to them and the kernel lets nobody serve; stacks; what can't be written: ${(copies.reduce((n, [, bytes]) => n + bytes, 0) / 1e6).toFixed(0)} MB of all states, most in ${copies
      .slice(0, 3)
      .map(([name, bytes]) => `${name} (${(bytes / 1e6).toFixed(0)})`)
      .join(', ')}.`,
    ...shared.map(
      ({ state, result }) =>
        `- ${state.about}: ${(result.shared / 1e6).toFixed(0)} MB of shared memory, which Lethe leaves alone.`,
    ),
    '- Below some tens of MB the pager takes more than it gives back, unless it sleeps.',
  ].join('\n')
}

/** What an earlier study counted, of its pages and of ours, per cent. */
interface Counted {
  readonly whole: number
  readonly numbers: number
  readonly nearly: number
}

/** States that both have: what was counted then and now, and the points between. */
const compared = (measured: readonly Measured[]) =>
  measured.flatMap(({ state, result }) => {
    const { name, earlier } = state
    if (earlier === undefined) return []
    const share = (pages: number): number => (100 * pages * PAGE) / result.anonymous
    const before: Counted = { whole: earlier.pages, numbers: earlier.numbers ?? 0, nearly: earlier.nearly }
    const after: Counted = {
      whole: share(result.explained),
      numbers: share(result.kinds.numbers),
      nearly: share(result.kinds.nearly),
    }
    const strict = after.whole + after.numbers - before.whole - before.numbers
    return [{ name, earlier, result, before, after, strict, loose: strict + after.nearly - before.nearly }]
  })

function earlierTable(measured: readonly Measured[]): string {
  const cells = ({ whole, numbers, nearly }: Counted): string[] =>
    [whole, numbers, nearly].map(share => share.toFixed(1))
  const rows = compared(measured).map(({ name, earlier, result, before, after, strict, loose }) => [
    name,
    earlier.megabytes,
    ...cells(before),
    (result.anonymous / 1e6).toFixed(0),
    ...cells(after),
    percent((result.pieces - result.kinds.numbers - result.kinds.nearly) * PAGE, result.anonymous),
    strict.toFixed(1),
    loose.toFixed(1),
  ])
  const head = [
    'state',
    'then: MB',
    'whole %',
    'numbers %',
    'nearly %',
    'now: MB',
    'whole %',
    'numbers %',
    'nearly %',
    'other pieces %',
    'points: whole, numbers',
    'and nearly',
  ]
  return table(head, rows)
}

function earlierSentence(measured: readonly Measured[]): string {
  const all = compared(measured)
  const near = (points: number): boolean => Math.abs(points) <= 3
  const far = all.filter(({ strict }) => !near(strict))
  const reasons = far.map(
    ({ name, strict, earlier }) =>
      `- ${name}, ${strict.toFixed(1)} points: ${earlier.why ?? 'it is not known why.'}`,
  )
  return [
    `Of ${all.length} states ${all.length - far.length} agree within 3 points in what is a file's as a whole or holds parsed numbers; with nearly whole pages ${all.filter(({ loose }) => near(loose)).length} do.`,
    ...(far.length === 0 ? [] : ['The others:', '', ...reasons]),
  ].join('\n')
}
