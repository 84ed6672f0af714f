/**
 * What `lethe run --json FILE` and `lethe check --json FILE` write, as the view needs it: one document or one on each line, in any order.
 * What is not known is left alone, so that a newer lethe's file can be looked at with an older page.
 */

/** Memory [from, to) that is what it is for one reason. */
export interface Stretch {
  readonly from: number
  readonly to: number
  /** One of `stateNames`, or the number of a site. */
  readonly kind: string
  readonly why: string
  readonly detail: readonly string[]
}

/** Memory as stretches, by one question. */
export interface MemoryMap {
  readonly title: string
  readonly stretches: readonly Stretch[]
  /** Kinds in the order of the legend, with what they are called. */
  readonly legend: readonly { readonly kind: string; readonly name: string }[]
}

export interface Sample {
  readonly ms: number
  readonly resident: number
  readonly kept: number
  readonly faults: number
  /** 255: all of the cell was resident. */
  readonly cells: Uint8Array
}

export interface Residency {
  /** Bytes of a cell. */
  readonly cell: number
  readonly samples: readonly Sample[]
}

export interface SiteRow {
  readonly stack: readonly string[]
  readonly bytes: number
  readonly blocks: number
  readonly peak: number
  /** 0 to 1: how much of it is in files; undefined: nobody looked. */
  readonly explained: number | undefined
}

/** Where code was: a function, perhaps with its line. */
export interface Frame {
  readonly name: string
  readonly file?: string
  readonly line?: number
}

export interface Bug {
  readonly kind: string
  readonly message: string
  readonly address: number | undefined
  readonly size: number
  readonly block: { readonly start: number; readonly size: number } | undefined
  readonly count: number
  readonly frames: readonly Frame[]
  readonly notes: readonly { readonly text: string; readonly frames: readonly Frame[] }[]
}

/** All that is known of one run. */
export interface Run {
  readonly program: string
  readonly sums: readonly (readonly [string, string])[]
  readonly maps: readonly MemoryMap[]
  readonly residency: Residency | undefined
  readonly sites: readonly SiteRow[]
  /** Undefined: the run was not checked. */
  readonly bugs: readonly Bug[] | undefined
}

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.filter(isObject) : [])
const number = (value: unknown): number => (typeof value === 'number' ? value : 0)
const words = (value: unknown): string => (typeof value === 'string' ? value : '')

/** `1.5 MiB`. */
export function size(bytes: number): string {
  const unit = bytes >= 2 ** 30 ? 3 : bytes >= 2 ** 20 ? 2 : bytes >= 1024 ? 1 : 0
  const value = bytes / 1024 ** unit
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB'][unit]}`
}

export const hex = (at: number): string => `0x${at.toString(16)}`

/** Reads a file's text. Throws an Error with one sentence when it is none of ours. */
export function readRun(text: string, name: string): Run {
  const documents = parse(text, name)
  const of = (type: string): Json | undefined => documents.find(one => one['type'] === type)
  const checked = documents.find(one => Array.isArray(one['findings']))
  const replay = of('replay')
  const run: Run = {
    program: words(replay?.['guest'] ?? checked?.['program']) || name,
    sums: [...budgetSums(of('budget')), ...replaySums(replay), ...heapSums(of('heap'), checked)],
    maps: [budgetMap(of('budget')), replayMap(replay), ownersMap(of('owners'), documents)].filter(
      map => map !== undefined,
    ),
    residency: residency((of('budget') ?? replay)?.['timeline']),
    sites: documents.filter(one => one['type'] === 'site').map(siteRow),
    bugs: checked === undefined ? undefined : list(checked['findings']).map(bug),
  }
  if (run.sums.length === 0 && run.maps.length === 0 && run.sites.length === 0 && run.bugs === undefined)
    throw new Error(`${name} has nothing that lethe run --json or lethe check --json writes`)
  return run
}

function parse(text: string, name: string): Json[] {
  try {
    return [JSON.parse(text)].filter(isObject)
  } catch {
    // Then it is one on each line.
  }
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    try {
      return [JSON.parse(line)].filter(isObject)
    } catch {
      throw new Error(`Line ${i + 1} of ${name} is not JSON`)
    }
  })
}

function budgetSums(budget: Json | undefined): [string, string][] {
  if (budget === undefined) return []
  const pages = (...names: string[]): string =>
    size(4096 * names.reduce((sum, name) => sum + number(budget[name]), 0))
  return [
    ['Budget', size(number(budget['budget']))],
    ['Most resident', pages('peak')],
    ['Dropped, in all', pages('droppedZero', 'droppedFile', 'droppedPacked', 'droppedClean')],
    ['Given back by free', pages('released')],
    ['Faults', number(budget['faults']).toLocaleString('en')],
    ['From files again', pages('fromFile')],
    ['Unpacked', pages('unpacked')],
    ['Kept on the side', size(number(budget['packedBytes']))],
  ]
}

function replaySums(replay: Json | undefined): [string, string][] {
  if (replay === undefined) return []
  const { memory, epochs } = replay
  if (!isObject(memory) || !isObject(epochs)) return [['Not replayed', words(replay['refused'])]]
  const kept = isObject(memory['kept']) ? number(memory['kept']['all']) : 0
  return [
    ['Written', size(number(memory['written']))],
    ['Virtual', size(number(memory['virtual']) + number(memory['clean']))],
    ['Kept for it', size(kept)],
    [
      'Epochs replayed',
      `${number(epochs['replayable']).toLocaleString('en')} of ${number(epochs['epochs']).toLocaleString('en')}`,
    ],
    ['Pages that came back', number(epochs['rebuiltPages']).toLocaleString('en')],
    ['Wrong ones', number(epochs['mismatches']).toLocaleString('en')],
  ]
}

function heapSums(heap: Json | undefined, checked: Json | undefined): [string, string][] {
  if (heap !== undefined) return [['Most of the heap alive', size(number(heap['peak']))]]
  const sums = checked?.['heap']
  return isObject(sums)
    ? [
        ['Blocks taken', number(sums['allocations']).toLocaleString('en')],
        ['Given back', number(sums['frees']).toLocaleString('en')],
        ['Bytes taken', size(number(sums['bytes']))],
      ]
    : []
}

const budgetKinds = [
  { kind: 'resident', name: 'resident' },
  { kind: 'file', name: 'a file makes it again' },
  { kind: 'mixed', name: 'a file and packed bytes' },
  { kind: 'packed', name: 'packed' },
  { kind: 'zeros', name: 'zeros' },
] as const

function budgetMap(budget: Json | undefined): MemoryMap | undefined {
  if (budget === undefined) return undefined
  const names = new Map<string, string>(budgetKinds.map(({ kind, name }) => [kind, name]))
  return {
    title: 'What each page is',
    legend: budgetKinds,
    stretches: list(budget['runs']).map(run => {
      const kind = words(run['kind'])
      return {
        from: number(run['from']),
        to: number(run['to']),
        kind,
        why: names.get(kind) ?? kind,
        detail: [],
      }
    }),
  }
}

function replayMap(replay: Json | undefined): MemoryMap | undefined {
  if (replay === undefined || !Array.isArray(replay['runs'])) return undefined
  return {
    title: 'What makes each page',
    legend: [
      { kind: 'physical', name: 'physical' },
      { kind: 'virtual', name: 'virtual: a replay makes it' },
      { kind: 'clean', name: 'came back, can go again' },
    ],
    stretches: list(replay['runs']).map(run => ({
      from: number(run['from']),
      to: number(run['to']),
      kind: words(run['state']),
      why: words(run['why']),
      detail: [...costOf(run), ...(Array.isArray(run['calls']) ? run['calls'].map(words) : [])],
    })),
  }
}

// What a refill of it takes and what is kept for it, where the run says so.
function costOf(run: Json): string[] {
  const { refill, kept } = run
  return [
    ...(typeof refill === 'number' ? [`a refill takes ${refill.toFixed(1)} ms`] : []),
    ...(typeof kept === 'number' ? [`${size(kept)} are kept for it`] : []),
  ]
}

/** Sites that have a colour of their own. */
const mostColours = 6

function ownersMap(owners: Json | undefined, documents: readonly Json[]): MemoryMap | undefined {
  if (owners === undefined) return undefined
  const sites = documents.filter(one => one['type'] === 'site').map(siteRow)
  const name = (n: number): string => sites[n]?.stack[0] ?? `site ${n + 1}`
  const stretches = list(owners['runs']).map(run => {
    const site = number(run['site'])
    const kind = site < 0 ? 'none' : site < mostColours ? `site${site}` : 'other'
    const why = site < 0 ? 'no block' : name(site)
    return { from: number(run['from']), to: number(run['to']), kind, why, detail: sites[site]?.stack ?? [] }
  })
  const used = new Set(stretches.map(({ kind }) => kind))
  const legend = [
    ...sites.slice(0, mostColours).map((_, n) => ({ kind: `site${n}`, name: name(n) })),
    { kind: 'other', name: 'other sites' },
    { kind: 'none', name: 'no block' },
  ]
  return {
    title: 'Whose each page was, near the heap’s largest',
    legend: legend.filter(({ kind }) => used.has(kind)),
    stretches,
  }
}

function residency(timeline: unknown): Residency | undefined {
  if (!isObject(timeline)) return undefined
  const samples = list(timeline['samples']).map(one => ({
    ms: number(one['ms']),
    resident: number(one['resident']),
    kept: number(one['kept']),
    faults: number(one['faults']),
    cells: Uint8Array.from(atob(words(one['cells'])), c => c.charCodeAt(0)),
  }))
  return samples.length < 2 ? undefined : { cell: number(timeline['cell']), samples }
}

function siteRow(site: Json): SiteRow {
  const looked = number(site['looked'])
  return {
    stack: list(site['stack']).map(frame => frameText(frameOf(frame))),
    bytes: number(site['bytes']),
    blocks: number(site['blocks']),
    peak: number(site['peakBytes']),
    explained: looked > 0 ? number(site['explained']) / looked : undefined,
  }
}

function frameOf(frame: Json): Frame {
  const name = words(frame['name']) || `function ${number(frame['index'] ?? frame['func'])}`
  const file = words(frame['file'])
  const line = number(frame['line'])
  return { name, ...(file === '' ? {} : { file }), ...(line > 0 ? { line } : {}) }
}

/** `parse (csv.c:17)`. */
export function frameText({ name, file, line }: Frame): string {
  return file === undefined ? name : `${name} (${file.split('/').at(-1)}:${line ?? '?'})`
}

function bug(finding: Json): Bug {
  const { block } = finding
  return {
    kind: words(finding['kind']),
    message: words(finding['message']),
    address: typeof finding['address'] === 'number' ? finding['address'] : undefined,
    size: Math.max(1, number(finding['size'])),
    block: isObject(block) ? { start: number(block['start']), size: number(block['size']) } : undefined,
    count: number(finding['count']),
    frames: list(finding['frames']).map(frameOf),
    notes: list(finding['notes']).map(note => ({
      text: words(note['text']),
      frames: list(note['frames']).map(frameOf),
    })),
  }
}
