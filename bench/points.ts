// Every policy on traces that others have published, each with 16 sizes of memory: exact against plain models, and misses over OPT and over LRU.
//
// LETHE_PAGE_TRACES: a directory of page traces, a number in a line (.gz as well): the LIRS authors' traces and others of the kind.
// LETHE_ADDRESS_TRACES: a directory of programs' addresses (`l 0x1fff50 3`, or what `lethe machine run` reads): pages of 4096 bytes.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import {
  createOpt,
  createPolicy,
  defaultPolicy,
  PageNumbers,
  policyNames,
  simulate,
} from '../src/policy/index.ts'
import { Skip } from './lib/cc.ts'
import { plain } from './lib/plain-policies.ts'
import { atMost, type Goal, type Table } from './lib/table.ts'
import type { Bench } from './main.ts'

const sizes = 16

interface Trace {
  readonly name: string
  readonly pages: Int32Array
  readonly count: number
}

function tracesOf(directory: string, pageSize: number): Trace[] {
  return readdirSync(directory)
    .sort()
    .map(file => {
      const bytes = readFileSync(join(directory, file))
      const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1')
      const numbers = new PageNumbers()
      const pages: number[] = []
      for (const line of text.split('\n')) {
        const found = /^\s*(?:[a-z]\s+)?(0x[0-9a-f]+|\d+)\b/i.exec(line)
        if (found !== null) pages.push(numbers.of(Math.floor(Number(found[1]) / pageSize)))
      }
      return { name: file.replace(/\..*$/, ''), pages: Int32Array.from(pages), count: numbers.count }
    })
}

/** From a hundredth of the pages to nearly all of them, each the same factor larger than the one before. */
function framesFor({ count }: Trace): number[] {
  const least = Math.max(2, count / 100)
  const most = count * 0.9
  return Array.from({ length: sizes }, (_, i) => Math.round(least * (most / least) ** (i / (sizes - 1))))
}

const geometric = (of: readonly number[]): number =>
  Math.exp(of.reduce((a, b) => a + Math.log(b), 0) / of.length)

interface Sums {
  readonly exact: Map<string, number>
  readonly overOpt: Map<string, number[]>
  readonly overLru: Map<string, number[]>
  readonly byTrace: (string | number)[][]
  points: number
}

function measure(traces: readonly Trace[]): Sums {
  const sums: Sums = { exact: new Map(), overOpt: new Map(), overLru: new Map(), byTrace: [], points: 0 }
  const add = (to: Map<string, number[]>, name: string, value: number): void => {
    const list = to.get(name)
    if (list === undefined) to.set(name, [value])
    else list.push(value)
  }
  for (const trace of traces) {
    const frames = framesFor(trace)
    const overOpt = new Map<string, number[]>()
    for (const count of frames) {
      sums.points++
      const misses = (name: (typeof policyNames)[number] | 'opt'): number =>
        simulate(name === 'opt' ? createOpt(count, trace.pages) : createPolicy(name, count), trace.pages)
          .misses
      const opt = misses('opt')
      const lru = misses('lru')
      for (const name of ['opt', ...policyNames] as const) {
        const here = name === 'opt' ? opt : name === 'lru' ? lru : misses(name)
        const expected = plain[name]?.(trace.pages, count)
        if (expected !== undefined)
          sums.exact.set(name, (sums.exact.get(name) ?? 0) + (expected === here ? 1 : 0))
        add(sums.overOpt, name, here / opt)
        add(overOpt, name, here / opt)
        add(sums.overLru, name, here / lru)
      }
    }
    sums.byTrace.push([
      trace.name,
      trace.pages.length,
      trace.count,
      `${frames[0]} to ${frames.at(-1)}`,
      geometric(overOpt.get('lru') ?? []).toFixed(3),
      geometric(overOpt.get(defaultPolicy) ?? []).toFixed(3),
    ])
  }
  return sums
}

function tables(title: string, sums: Sums, goals: readonly Goal[]): Table[] {
  const exact = [...sums.exact].map(([name, n]) => `${name} ${n} of ${sums.points}`).join(', ')
  return [
    {
      title: `${title}: ${sums.points} points; geometric means`,
      head: ['policy', 'misses over OPT', 'misses over LRU'],
      rows: [...sums.overOpt].map(([name, of]) => [
        name,
        geometric(of).toFixed(3),
        geometric(sums.overLru.get(name) ?? []).toFixed(3),
      ]),
      notes: [`The same as a plain model: ${exact}.`],
      goals: [
        {
          what: 'FIFO, LRU, CLOCK and OPT exact',
          goal: `${4 * sums.points} counts`,
          measured: `${[...sums.exact.values()].reduce((a, b) => a + b, 0)} counts`,
          met: [...sums.exact.values()].every(n => n === sums.points),
        },
        ...goals,
      ],
    },
    {
      title: `${title}, by trace: misses over OPT, geometric mean of ${sizes} sizes`,
      head: ['trace', 'references', 'pages', 'frames', 'LRU', defaultPolicy],
      rows: sums.byTrace,
    },
  ]
}

export const bench: Bench = {
  about: 'Replacement policies on published traces.',
  async run(): Promise<readonly Table[]> {
    const pages = process.env['LETHE_PAGE_TRACES']
    const addresses = process.env['LETHE_ADDRESS_TRACES']
    if (pages === undefined && addresses === undefined)
      throw new Skip('LETHE_PAGE_TRACES and LETHE_ADDRESS_TRACES name no directories of traces')
    const out: Table[] = []
    if (pages !== undefined) {
      const sums = measure(tracesOf(pages, 1))
      const over = geometric(sums.overOpt.get(defaultPolicy) ?? [])
      out.push(
        ...tables('Page traces', sums, [atMost(`misses of ${defaultPolicy} over OPT's`, 1.15, over, '')]),
      )
    }
    if (addresses !== undefined) {
      const sums = measure(tracesOf(addresses, 4096))
      const over = geometric(sums.overLru.get(defaultPolicy) ?? [])
      out.push(
        ...tables('Address traces', sums, [atMost(`misses of ${defaultPolicy} over LRU's`, 1.02, over, '')]),
      )
    }
    return out
  },
}
