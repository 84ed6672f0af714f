// lethe machine cache: one cache and a lackey trace, with the options and the answer of CS:APP's cache lab (csim).
import { Command, Option } from 'commander'
import { Sets } from '../machine/sets.ts'
import { kinds, type TraceFormat, traceFormats } from '../machine/trace.ts'
import { readTrace } from '../machine/trace-file.ts'
import { examples, options } from './arguments.ts'
import { UsageError } from './errors.ts'
import { print, printJson } from './output.ts'

interface CacheFlags {
  readonly s: number
  readonly E: number
  readonly b: number
  readonly t: string
  readonly v?: boolean
  readonly policy: 'lru' | 'fifo' | 'plru' | 'random'
  readonly seed: number
  readonly format?: TraceFormat
  readonly json?: boolean
}

function whole(least: number, most: number): (text: string) => number {
  return text => {
    const n = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!(n >= least && n <= most))
      throw new UsageError(`'${text}' is not a whole number from ${least} to ${most}`)
    return n
  }
}

export function cacheCommand(): Command {
  return new Command('cache')
    .description('hits, misses and evictions of one cache, as csim of the cache lab counts them')
    .addOption(new Option('-s <bits>', 'set index bits').argParser(whole(0, 24)).makeOptionMandatory())
    .addOption(new Option('-E <ways>', 'lines of a set').argParser(whole(1, 65_536)).makeOptionMandatory())
    .addOption(new Option('-b <bits>', 'block bits').argParser(whole(0, 24)).makeOptionMandatory())
    .addOption(new Option('-t <trace>', 'the trace (-: standard input)').makeOptionMandatory())
    .addOption(new Option('-v', 'say of every access what became of it'))
    .addOption(
      new Option('--policy <policy>', 'replacement')
        .choices(['lru', 'fifo', 'plru', 'random'])
        .default('lru'),
    )
    .addOption(new Option('--seed <n>', 'for the policy random').argParser(whole(0, 2 ** 32 - 1)).default(1))
    .addOption(new Option('--format <format>', 'what the trace is').choices(traceFormats))
    .addOption(options.json())
    .addHelpText(
      'after',
      `\nAs in the lab, instruction fetches are left out, an access never crosses a block, and M is a load and a store.\n${examples(
        [['lethe machine cache -s 4 -E 1 -b 4 -t yi.trace', 'hits:4 misses:5 evictions:3']],
      )}`,
    )
    .action(run)
}

async function run({ s, E, b, t, v, policy, seed, format, json }: CacheFlags): Promise<void> {
  if (policy === 'plru' && !Number.isInteger(Math.log2(E)))
    throw new UsageError(`-E ${E}: the policy plru needs a power of two`)
  const sets = new Sets(2 ** s, E, policy, seed)
  const block = 2 ** b
  let hits = 0
  let misses = 0
  let evictions = 0
  await readTrace(
    t,
    (words, count) => {
      for (let i = 0; i < count; i++) {
        const high = words[i * 2 + 1] as number
        const kind = high >>> 28
        if (kind === kinds.fetch || kind === kinds.process) continue
        const address = (high & 0xffff) * 2 ** 32 + (words[i * 2] as number)
        const line = Math.floor(address / block)
        const set = line % sets.count
        let way = sets.find(set, line)
        let what = 'hit'
        if (way >= 0) {
          hits++
          sets.touch(set, way)
        } else {
          misses++
          what = 'miss'
          way = sets.victim(set)
          if (sets.keys[set * E + way] !== -1) {
            evictions++
            what = 'miss eviction'
          }
          sets.put(set, way, line)
        }
        if (v)
          print(
            `${kind === kinds.write ? 'S' : 'L'} ${address.toString(16)},${(high >>> 16) & 0xfff} ${what}`,
          )
      }
    },
    format,
  )
  if (json) printJson({ type: 'cache', s, E, b, trace: t, policy, hits, misses, evictions })
  else print(`hits:${hits} misses:${misses} evictions:${evictions}`)
}
