// lethe machine dinero: Dinero IV's options, a trace on standard input, and its counts.
import { Command } from 'commander'
import { type DineroCache, DineroSimulator, results } from '../machine/dinero.ts'
import { DineroEngine } from '../machine/dinero-engine.ts'
import { randomNames } from '../machine/dinero-random.ts'
import { parseCount } from '../machine/configure.ts'
import type { TraceFormat } from '../machine/trace.ts'
import { readTrace } from '../machine/trace-file.ts'
import { examples } from './arguments.ts'
import { UsageError } from './errors.ts'
import { print, printJson } from './output.ts'

const formats: Readonly<Record<string, TraceFormat>> = {
  d: 'din',
  D: 'xdin',
  b: 'dinb',
  p: 'pixie32',
  P: 'pixie64',
}

export function dineroCommand(): Command {
  return new Command('dinero')
    .description('caches as Dinero IV has them: its options, its trace formats, its counts')
    .usage('[Dinero IV options] [--json] < trace')
    .argument('[options...]', 'such as -l1-isize 8k -l1-ibsize 16 -l1-dsize 8k -l1-dbsize 16 -informat d')
    .allowUnknownOption()
    .passThroughOptions()
    .addHelpText(
      'after',
      `\nOptions: -lN-Tsize, bsize, sbsize, assoc, repl (l f r p), fetch (d a m t l s), pfdist, pfabort, walloc (a n f), wback (a n f), ccc, for level N
and type T (u unified, i instructions, d data; what a level has no cache for goes to the next); -informat d (din), D (xdin), b (binary), p or P (pixie, 32 and
64 bits); -flushcount, -maxcount, -skipcount; -stat-idcombine adds the results of both caches of a level. Of our own: -random minstd (the numbers
of later versions) or libc (random() of Linux, which versions to 7 use there).\n${examples([
        ['lethe machine dinero -l1-usize 8k -l1-ubsize 16 -l1-uassoc 4 -informat d < mm.din', 'one cache'],
      ])}`,
    )
    .action(run)
}

type Options = Map<string, string>

function parse(words: readonly string[]): { options: Options; json: boolean } {
  const options: Options = new Map()
  let json = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (word === '--json') json = true
    else if (/^-l[1-5]-[uid]ccc$/.test(word) || word === '-stat-idcombine') options.set(word.slice(1), 'y')
    else if (
      /^-l[1-5]-[uid](size|bsize|sbsize|assoc|repl|fetch|pfdist|pfabort|walloc|wback)$/.test(word) ||
      /^-(informat|flushcount|maxcount|skipcount|random)$/.test(word)
    ) {
      const value = words[++i]
      if (value === undefined) throw new UsageError(`${word} needs a value`)
      options.set(word.slice(1), value)
    } else
      throw new UsageError(
        `${word} is no option of Dinero IV's that we know; see lethe machine dinero --help`,
      )
  }
  return { options, json }
}

/** Of a cache: each is an object. */
const mostBlocks = 2 ** 24

function number(options: Options, name: string, otherwise?: number): number {
  const text = options.get(name)
  const n = text === undefined ? otherwise : parseCount(text)
  if (n === undefined || !Number.isSafeInteger(n) || n < 0)
    throw new UsageError(`-${name} is ${text ?? 'missing'}: give a whole number such as 8k`)
  return n
}

function letter<T extends string>(options: Options, name: string, choices: readonly T[]): T {
  const text = options.get(name) ?? choices[0]
  if (!(choices as readonly (string | undefined)[]).includes(text))
    throw new UsageError(`-${name} ${text}: there are ${choices.join(', ')}`)
  return text as T
}

function cacheOf(options: Options, level: number, type: 'u' | 'i' | 'd'): DineroCache {
  const at = `l${level}-${type}`
  const size = number(options, `${at}size`)
  const block = number(options, `${at}bsize`)
  const subBlock = number(options, `${at}sbsize`, block)
  const ways = number(options, `${at}assoc`, 1)
  for (const [what, n] of [
    ['bsize', block],
    ['sbsize', subBlock],
  ] as const)
    if (n < 1 || !Number.isInteger(Math.log2(n)))
      throw new UsageError(`-${at}${what} ${n} is no power of two`)
  if (ways < 1 || size < 1 || size % (block * ways) !== 0)
    throw new UsageError(`-${at}assoc ${ways}: ${size} bytes are no whole sets of ${ways} blocks of ${block}`)
  if (size / block > mostBlocks)
    throw new UsageError(`-${at}size ${size}: these are ${size / block} blocks; give at most ${mostBlocks}`)
  if (subBlock > block || block / subBlock > 30)
    throw new UsageError(`-${at}sbsize ${subBlock}: a block of ${block} has 1 to 30 sub-blocks`)
  const replacement = letter(options, `${at}repl`, ['l', 'f', 'r', 'p'])
  const classify = options.has(`${at}ccc`)
  if (replacement === 'p' && !Number.isInteger(Math.log2(ways)))
    throw new UsageError(`-${at}repl p: the tree needs a power of two of ways, ${ways} is none`)
  if (replacement === 'p' && classify)
    throw new UsageError(
      `-${at}ccc goes with -${at}repl l, f or r: a tree over all ${size / block} blocks is not there`,
    )
  return {
    name: `l${level}-${type}cache`,
    type,
    size,
    block,
    subBlock,
    ways,
    replacement,
    prefetch: letter(options, `${at}fetch`, ['d', 'a', 'm', 't', 'l', 's']),
    distance: number(options, `${at}pfdist`, 1),
    abort: number(options, `${at}pfabort`, 0),
    allocate: letter(options, `${at}walloc`, ['a', 'n', 'f']),
    writeBack: letter(options, `${at}wback`, ['a', 'n', 'f']),
    classify,
  }
}

async function run(words: string[]): Promise<void> {
  const { options, json } = parse(words)
  const levels: DineroCache[][] = []
  for (let level = 1; level <= 5; level++) {
    const has = (type: string): boolean => options.has(`l${level}-${type}size`)
    if (!has('u') && !has('i') && !has('d')) break
    if (has('u') && (has('i') || has('d')))
      throw new UsageError(`Level ${level} is both unified and split: give u, or i and d`)
    levels.push((['u', 'i', 'd'] as const).filter(has).map(type => cacheOf(options, level, type)))
  }
  if (levels.length === 0) throw new UsageError('There is no cache: give at least -l1-usize and -l1-ubsize')
  const flushEvery = number(options, 'flushcount', 0)
  const fast = flushEvery === 0 ? DineroEngine.for(levels) : undefined
  const simulator = fast ?? new DineroSimulator(levels, flushEvery, letter(options, 'random', randomNames))
  const format = formats[options.get('informat') ?? 'D']
  if (format === undefined)
    throw new UsageError(`-informat ${options.get('informat')}: there are ${Object.keys(formats).join(', ')}`)
  let skip = number(options, 'skipcount', 0)
  let left = number(options, 'maxcount', 0) || Number.POSITIVE_INFINITY
  await readTrace(
    '-',
    (records, count) => {
      const from = Math.min(skip, count)
      const to = Math.min(count, from + left)
      skip -= from
      left -= to - from
      if (from < to) simulator.run(records.subarray(from * 2, to * 2), to - from)
    },
    format,
    fast !== undefined && skip === 0 && left === Number.POSITIVE_INFINITY
      ? (bytes, dinero) => fast.runBytes(bytes, dinero)
      : undefined,
  )
  simulator.finish()
  const all = simulator.levels.map(level => ({ name: level.cache.name, ...results(level) }))
  if (json) return printJson({ type: 'dinero', caches: all }, 2)
  const combined = options.has('stat-idcombine') ? combine(all) : all
  for (const { name, rows, multiBlock, bytesRead, bytesWritten } of combined) {
    print(name)
    print(
      `${'Metrics'.padEnd(24)}${['Total', 'Instrn', 'Data', 'Read', 'Write', 'Misc'].map(h => h.padStart(12)).join('')}`,
    )
    for (const [label, ...values] of rows)
      print(`${label.padEnd(24)}${values.map(value => String(value).padStart(12)).join('')}`)
    print(`${'Multi-block refs'.padEnd(24)}${String(multiBlock).padStart(12)}`)
    print(`${'Bytes From Memory'.padEnd(24)}${String(bytesRead).padStart(12)}`)
    print(`${'Bytes To Memory'.padEnd(24)}${String(bytesWritten).padStart(12)}`)
    print(`${'Total Bytes r/w Mem'.padEnd(24)}${String(bytesRead + bytesWritten).padStart(12)}\n`)
  }
}

type Result = { name: string } & ReturnType<typeof results>

/** Instruction and data caches of a level as one. */
function combine(all: readonly Result[]): Result[] {
  const out: Result[] = []
  for (const result of all) {
    const data = result.name.endsWith('-dcache')
    const other = out.at(-1)
    if (!data || other === undefined) {
      out.push(result)
      continue
    }
    out.pop()
    out.push({
      name: result.name.replace('-dcache', '-I/Dcaches'),
      rows: result.rows.map(([label, ...values], i) => [
        label,
        ...values.map((value, j) => value + Number(other.rows[i]?.[j + 1] ?? 0)),
      ]),
      multiBlock: result.multiBlock + other.multiBlock,
      bytesRead: result.bytesRead + other.bytesRead,
      bytesWritten: result.bytesWritten + other.bytesWritten,
    })
  }
  return out
}
