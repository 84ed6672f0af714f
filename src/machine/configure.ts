/** From what somebody wrote (a preset's name, a JSON file, `tlb.ways=2`) to a checked MachineConfig. */
import {
  type CacheConfig,
  type CacheLevel,
  type EntryFormat,
  entryFormats,
  lectureCost,
  type MachineConfig,
  presets,
  type TlbConfig,
} from './config.ts'
import { MachineError } from './errors.ts'

type Plain = Readonly<Record<string, unknown>>

function wrong(what: string, value: unknown, remedy: string): MachineError {
  const text = JSON.stringify(value) ?? 'nothing'
  const shown = text.length > 80 ? `${text.slice(0, 79)}…` : text
  return new MachineError('config', `${what} is ${shown}: ${remedy}`)
}

/** A number as people write it: 64, "0x40", "64k". */
export function parseCount(value: unknown): number {
  if (typeof value === 'number') return value
  if (typeof value !== 'string') return Number.NaN
  const match = /^(0x[0-9a-f]+|\d+)([kmg]?)i?b?$/i.exec(value.trim())
  if (match === null) return Number.NaN
  return Number(match[1]) * 1024 ** ['', 'k', 'm', 'g'].indexOf((match[2] ?? '').toLowerCase())
}

function whole(what: string, value: unknown, least: number, most: number): number {
  const n = parseCount(value)
  if (!Number.isSafeInteger(n) || n < least || n > most)
    throw wrong(what, value, `give a whole number from ${least} to ${most}`)
  return n
}

function power(what: string, value: unknown, least: number, most: number): number {
  const n = whole(what, value, least, most)
  if (!isPower(n)) throw wrong(what, value, 'give a power of two')
  return n
}

const isPower = (n: number): boolean => Number.isInteger(Math.log2(n)) && 2 ** Math.round(Math.log2(n)) === n

function flag(what: string, value: unknown): boolean {
  if (value === true || value === false) return value
  if (value === 'true' || value === 'false') return value === 'true'
  throw wrong(what, value, 'give true or false')
}

function choice<T extends string>(what: string, value: unknown, choices: readonly T[]): T {
  if ((choices as readonly unknown[]).includes(value)) return value as T
  throw wrong(what, value, `give ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`)
}

function object(what: string, value: unknown, keys: readonly string[]): Plain {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(what, value, 'give an object')
  for (const key of Object.keys(value))
    if (!keys.includes(key))
      throw new MachineError(
        'config',
        `${what === 'the machine' ? key : `${what}.${key}`} is no parameter: there are ${keys.join(', ')}`,
      )
  return value as Plain
}

const replacements = ['lru', 'fifo', 'plru', 'random'] as const
const tlbKeys = ['entries', 'ways', 'policy', 'asid', 'seed']
const cacheKeys = ['size', 'line', 'ways', 'policy', 'seed', 'write', 'allocate']

function policyFor(what: string, given: unknown, ways: number): TlbConfig['policy'] {
  const policy = choice(`${what}.policy`, given, replacements)
  if (policy === 'plru' && !isPower(ways))
    throw wrong(`${what}.ways`, ways, 'the policy plru needs a power of two')
  return policy
}

function tlbOf(what: string, given: unknown): TlbConfig | null {
  if (given === null || given === 'none') return null
  const o = object(what, given, tlbKeys)
  const entries = whole(`${what}.entries`, o['entries'] ?? 16, 1, 2 ** 20)
  const ways = whole(`${what}.ways`, o['ways'] ?? entries, 1, entries)
  if (entries % ways !== 0 || !isPower(entries / ways))
    throw wrong(
      `${what}.ways`,
      ways,
      `${entries} entries in sets of ${ways} are no power of two of sets; take another number of ways`,
    )
  return {
    entries,
    ways,
    policy: policyFor(what, o['policy'] ?? 'lru', ways),
    asid: flag(`${what}.asid`, o['asid'] ?? false),
    seed: whole(`${what}.seed`, o['seed'] ?? 1, 0, 2 ** 32 - 1),
  }
}

function cacheOf(what: string, given: unknown): CacheConfig {
  const o = object(what, given, cacheKeys)
  const size = whole(`${what}.size`, o['size'] ?? 32_768, 1, 2 ** 36)
  const line = power(`${what}.line`, o['line'] ?? Math.min(64, size), 1, 2 ** 20)
  if (line > size) throw wrong(`${what}.line`, line, `a line can't be larger than the cache, ${size} bytes`)
  const ways = whole(`${what}.ways`, o['ways'] ?? 1, 1, size / line)
  if (!isPower(size / line / ways))
    throw wrong(
      `${what}.ways`,
      ways,
      `${size} bytes in lines of ${line} with ${ways} ways are ${size / line / ways} sets, and that must be a power of two`,
    )
  return {
    size,
    line,
    ways,
    policy: policyFor(what, o['policy'] ?? 'lru', ways),
    seed: whole(`${what}.seed`, o['seed'] ?? 1, 0, 2 ** 32 - 1),
    write: choice(`${what}.write`, o['write'] ?? 'back', ['back', 'through']),
    allocate: flag(`${what}.allocate`, o['allocate'] ?? true),
  }
}

function levelOf(what: string, given: unknown): CacheLevel {
  const o = object(what, given, ['unified', 'instruction', 'data'])
  const split = o['instruction'] !== undefined || o['data'] !== undefined
  if (split === (o['unified'] !== undefined))
    throw new MachineError('config', `${what} has to be either unified or split into instruction and data`)
  if (!split) return { unified: cacheOf(`${what}.unified`, o['unified']) }
  if (o['instruction'] === undefined || o['data'] === undefined)
    throw new MachineError('config', `${what} has only one of instruction and data: give both, or unified`)
  return {
    instruction: cacheOf(`${what}.instruction`, o['instruction']),
    data: cacheOf(`${what}.data`, o['data']),
  }
}

const entryKeys = ['bytes', 'frameShift', 'frameBits', 'valid', 'read', 'write', 'execute', 'noExecute']
const flagKeys = ['valid', 'read', 'write', 'execute', 'noExecute', 'user', 'referenced', 'dirty'] as const

function entryOf(given: unknown): EntryFormat {
  if (typeof given === 'string') {
    const named = entryFormats[given as keyof typeof entryFormats]
    if (named === undefined)
      throw wrong('pageTable.entry', given, `there are ${Object.keys(entryFormats).join(', ')}`)
    return named
  }
  const what = 'pageTable.entry'
  const o = object(what, given, [...entryKeys, 'user', 'referenced', 'dirty'])
  const bytes = power(`${what}.bytes`, o['bytes'], 1, 8)
  const frameShift = whole(`${what}.frameShift`, o['frameShift'] ?? 0, 0, bytes * 8 - 1)
  const frameBits = whole(`${what}.frameBits`, o['frameBits'], 1, bytes * 8 - frameShift)
  const taken = new Set<number>()
  const flags: Record<string, number> = {}
  for (const key of flagKeys) {
    if (o[key] === undefined && key !== 'valid') continue
    const bit = whole(`${what}.${key}`, o[key], 0, bytes * 8 - 1)
    if (taken.has(bit) || (bit >= frameShift && bit < frameShift + frameBits))
      throw wrong(`${what}.${key}`, bit, 'that bit is taken')
    taken.add(bit)
    flags[key] = bit
  }
  return { bytes, frameShift, frameBits, ...flags } as EntryFormat
}

/** The bits of an entry, also of a format that has a name. */
export function entryFormat(config: MachineConfig): EntryFormat {
  return entryOf(config.pageTable.entry)
}

const machineKeys = Object.keys(presets['lecture'] as MachineConfig)
const costKeys = Object.keys(lectureCost)
const isObject = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** `over` over `base`: objects are merged, all else is replaced. */
function merge(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over))
    merged[key] = key in merged ? merge(merged[key], value) : value
  return merged
}

/** `given` with the value at `path`, such as tlb.ways or caches.0.data.size. MachineError where there is no such place. */
export function withSetting(given: object, path: string, text: string): object {
  const copy = structuredClone(given) as Record<string, unknown>
  const keys = path.split('.')
  const last = keys.pop() as string
  let at: Record<string, unknown> = copy
  for (const key of keys) {
    if (at[key] === undefined || at[key] === null) at[key] = {}
    if (typeof at[key] !== 'object')
      throw new MachineError('config', `${path} is no parameter: ${key} has no parts`)
    at = at[key] as Record<string, unknown>
  }
  let value: unknown = text
  try {
    value = JSON.parse(text)
  } catch {
    // A word or a size: the parameter's own check says whether it will do.
  }
  at[last] = value
  return copy
}

/** The preset of a name. MachineError 'config'. */
export function preset(name: string): MachineConfig {
  const found = Object.hasOwn(presets, name) ? presets[name] : undefined
  if (found === undefined)
    throw wrong('preset', name, `there is no such machine; there are ${Object.keys(presets).join(', ')}`)
  return found
}

/** `given` over its preset, with every parameter, not checked yet. */
export function completed(given: object): Plain {
  const { preset: name, ...rest } = given as Plain
  return { ...(merge(preset(name === undefined ? 'lecture' : String(name)), rest) as Plain), preset: name }
}

/**
 * A checked machine: `given` over the preset that it names ('lecture' if it names none). MachineError 'config' says what does
 * not fit together, with the value and what would.
 */
export function machineConfig(given: object = {}): MachineConfig {
  const { preset: name, ...rest } = given as Plain
  const base = preset(name === undefined ? 'lecture' : String(name))
  const frames = rest['frames'] === undefined && (rest['physicalBits'] ?? rest['pageSize']) !== undefined
  const o = object('the machine', merge(base, rest), machineKeys)
  const virtualBits = whole('virtualBits', o['virtualBits'], 1, 53)
  const physicalBits = whole('physicalBits', o['physicalBits'], 1, 56)
  const pageSize = power('pageSize', o['pageSize'], 1, 2 ** 30)
  const offsetBits = Math.log2(pageSize)
  if (offsetBits > physicalBits)
    throw wrong('pageSize', pageSize, `a page can't be larger than memory, 2^${physicalBits} bytes`)
  if (offsetBits > virtualBits)
    throw wrong('pageSize', pageSize, `a page can't be larger than the address space, 2^${virtualBits} bytes`)
  const most = Math.min(2 ** (physicalBits - offsetBits), 2 ** 32)
  const config: MachineConfig = {
    name: String(o['name']),
    translation: flag('translation', o['translation']),
    virtualBits,
    physicalBits,
    pageSize,
    frames: framesOf(frames ? Math.min(most, 2 ** 20) : o['frames'], most, physicalBits, pageSize),
    pageTable: tableOf(o['pageTable'], virtualBits - offsetBits, pageSize),
    tlb: tlbOf('tlb', o['tlb']),
    itlb: tlbOf('itlb', o['itlb']),
    caches: cachesOf(o['caches']),
    placement: choice('placement', o['placement'], ['lowest', 'random', 'identity']),
    policy: String(o['policy']).toLowerCase(),
    allocation: choice('allocation', o['allocation'], ['global', 'local']),
    framesPerProcess: whole('framesPerProcess', o['framesPerProcess'], 0, most),
    swapSlots: whole('swapSlots', o['swapSlots'], 0, 2 ** 30),
    seed: whole('seed', o['seed'], 0, 2 ** 32 - 1),
    cost: costOf(o['cost']),
  }
  checkTogether(config, offsetBits)
  return config
}

function framesOf(given: unknown, most: number, physicalBits: number, pageSize: number): number {
  const n = parseCount(given)
  if (n === 0) throw wrong('frames', given, 'a machine without frames has no memory; give 1 or more')
  if (n > most)
    throw wrong(
      'frames',
      given,
      `${physicalBits} bits of physical address hold ${most} pages of ${pageSize} bytes`,
    )
  return whole('frames', given, 1, most)
}

function tableOf(given: unknown, vpnBits: number, pageSize: number): MachineConfig['pageTable'] {
  const o = object('pageTable', given, ['levels', 'entry', 'placement', 'cached'])
  const levels = Array.isArray(o['levels']) ? o['levels'] : [o['levels']]
  if (levels.length < 1 || levels.length > 5)
    throw wrong('pageTable.levels', levels, 'give the bits of one to five levels')
  const bits = levels.map((n, i) => whole(`pageTable.levels.${i}`, n, 1, 40))
  const sum = bits.reduce((a, b) => a + b, 0)
  if (sum !== vpnBits)
    throw wrong(
      'pageTable.levels',
      bits,
      `these are ${sum} bits, but a virtual page number has ${vpnBits} (virtualBits less log2 of pageSize ${pageSize})`,
    )
  entryOf(o['entry'])
  return {
    levels: bits,
    entry: o['entry'] as EntryFormat,
    placement: choice('pageTable.placement', o['placement'], ['frames', 'outside']),
    cached: flag('pageTable.cached', o['cached']),
  }
}

function cachesOf(given: unknown): CacheLevel[] {
  const levels = Array.isArray(given) ? given : isObject(given) ? Object.values(given) : undefined
  if (levels === undefined || levels.length > 3)
    throw wrong(
      'caches',
      given,
      `give a list of none to three levels${levels === undefined ? '' : `, not ${levels.length}`}`,
    )
  const checked = levels.map((level, i) => levelOf(`caches.${i}`, level))
  checked.forEach((level, i) => {
    if (level.unified === undefined && i > 0 && checked[i - 1]?.unified !== undefined)
      throw wrong(`caches.${i}`, 'split', 'a level below a unified one has to be unified too')
  })
  return checked
}

function costOf(given: unknown): MachineConfig['cost'] {
  const o = object('cost', given, costKeys)
  const cycles = (key: string): number => {
    const value = Number(o[key])
    if (!(value >= 0 && value <= 1e12))
      throw wrong(`cost.${key}`, o[key], 'give a number of cycles, 0 or more')
    return value
  }
  const levels = Array.isArray(o['cache']) ? o['cache'] : [o['cache']]
  return {
    tlbHit: cycles('tlbHit'),
    cache: levels.map((n, i) => whole(`cost.cache.${i}`, n, 0, 1e9)),
    memory: cycles('memory'),
    fault: cycles('fault'),
    diskLatency: cycles('diskLatency'),
    diskByte: cycles('diskByte'),
    contextSwitch: cycles('contextSwitch'),
  }
}

function checkTogether(config: MachineConfig, offsetBits: number): void {
  const { translation, pageTable, physicalBits, virtualBits, tlb } = config
  const entry = entryOf(pageTable.entry)
  const ppnBits = Math.ceil(Math.log2(config.frames))
  if (translation && entry.frameBits < ppnBits)
    throw wrong('frames', config.frames, `an entry has room for ${entry.frameBits} bits of frame number only`)
  if (tlb !== null && translation && Math.log2(tlb.entries / tlb.ways) > virtualBits - offsetBits)
    throw wrong('tlb.entries', tlb.entries, 'that is more sets than there are pages')
  config.caches.forEach((level, i) => {
    for (const cache of [level.unified, level.instruction, level.data])
      if (cache !== undefined && Math.log2(cache.size / cache.ways) > physicalBits)
        throw wrong(`caches.${i}`, cache.size, `one way is larger than memory, 2^${physicalBits} bytes`)
  })
  if (config.allocation === 'local' && config.framesPerProcess < 1)
    throw wrong('framesPerProcess', config.framesPerProcess, 'local allocation needs 1 or more')
}
