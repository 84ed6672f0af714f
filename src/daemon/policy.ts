/**
 * The policy of `lethe daemon`: which processes are attached to and how, and which never. A JSON file; docs/schemas/policy.schema.json
 * describes it for editors. What is wrong in it is said with its place and value, and nothing is done with any of it.
 */
import { readFileSync } from 'node:fs'
import { sizeIn } from '../library/size.ts'

/** What a process must be; all that are given must fit. `*` stands for any text, `?` for a character. */
export interface Match {
  /** Name of the program: its executable file's, its first word's or its comm. */
  readonly command?: string
  /** Name or number. */
  readonly user?: string
  /** Path of the control group. */
  readonly cgroup?: string
}

export interface Rule {
  readonly name: string
  readonly match: Match
  /** Bytes; see `lethe attach --budget`. */
  readonly budget?: number
  /** Share of time, 0 to 1. */
  readonly pressure?: number
  readonly pack?: boolean
  readonly deep?: boolean
  readonly backings: readonly string[]
}

export interface Policy {
  /** Seconds between two looks. */
  readonly every: number
  /** Seconds that a process must have lived. */
  readonly settle: number
  /** Bytes of anonymous memory from which on a process is attached to. */
  readonly minimum: number
  /** Most processes attached at a time. */
  readonly most: number
  readonly stop: 'detach' | 'leave'
  /** The first that matches counts. */
  readonly rules: readonly Rule[]
  readonly never: readonly Match[]
}

/** What is wrong with a policy; `message` is one sentence with the place. */
export class PolicyError extends Error {
  readonly code = 'policy'
  constructor(path: string, place: string, why: string, options?: ErrorOptions) {
    super(`${path}: ${place === '' ? '' : `${place}: `}${why}`, options)
    this.name = 'PolicyError'
  }
}

/** Reads a policy. Throws PolicyError. */
export function readPolicy(path: string): Policy {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new PolicyError(path, '', `it can't be read (${(error as NodeJS.ErrnoException).code})`, {
      cause: error,
    })
  }
  return parsePolicy(text, path)
}

type Fields = Readonly<Record<string, unknown>>

/** The policy in a text; `path` is for messages. Throws PolicyError. */
export function parsePolicy(text: string, path = 'policy'): Policy {
  const wrong = (place: string, why: string): never => {
    throw new PolicyError(path, place, why)
  }
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw new PolicyError(path, '', `it is no JSON (${(error as Error).message})`, { cause: error })
  }
  const shown = (value: unknown): string => JSON.stringify(value) ?? String(value)
  const object = (value: unknown, place: string, known: readonly string[]): Fields => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return wrong(place, `${shown(value)} is no object`)
    for (const name of Object.keys(value))
      if (!known.includes(name))
        wrong(
          place,
          `'${name}' is not known here; known are ${known.filter(n => n !== '$schema').join(', ')}`,
        )
    return value as Fields
  }
  const list = (value: unknown, place: string): readonly unknown[] =>
    value === undefined ? [] : Array.isArray(value) ? value : wrong(place, `${shown(value)} is no list`)
  const number = (value: unknown, place: string, low: number, high: number, standard: number): number => {
    if (value === undefined) return standard
    if (typeof value === 'number' && value >= low && value <= high) return value
    return wrong(place, `${shown(value)} is no number from ${low} to ${high}`)
  }
  const size = (value: unknown, place: string): number => {
    const bytes = typeof value === 'string' ? sizeIn(value) : undefined
    return bytes ?? wrong(place, `${shown(value)} is no size; write one such as "64M"`)
  }
  const flag = (value: unknown, place: string): boolean =>
    typeof value === 'boolean' ? value : wrong(place, `${shown(value)} is neither true nor false`)
  const words = (value: unknown, place: string): string =>
    typeof value === 'string' && value !== '' ? value : wrong(place, `${shown(value)} is no text`)

  const match = (value: unknown, place: string): Match => {
    const fields = object(value, place, ['command', 'user', 'cgroup'])
    if (Object.keys(fields).length === 0)
      wrong(place, 'it would match every process; say "command": "*" if you mean that')
    return Object.fromEntries(
      Object.entries(fields).map(([name, one]) => [name, words(one, `${place}.${name}`)]),
    )
  }
  const rule = (value: unknown, i: number): Rule => {
    const place = `rules[${i}]`
    const known = ['name', 'match', 'budget', 'pressure', 'pack', 'deep', 'backings']
    const { name, match: who, budget, pressure, pack, deep, backings } = object(value, place, known)
    return {
      name: words(name, `${place}.name`),
      match: match(who, `${place}.match`),
      backings: list(backings, `${place}.backings`).map((one, k) => words(one, `${place}.backings[${k}]`)),
      ...(budget === undefined ? {} : { budget: size(budget, `${place}.budget`) }),
      ...(pressure === undefined
        ? {}
        : { pressure: number(pressure, `${place}.pressure`, 0.01, 100, 1) / 100 }),
      ...(pack === undefined ? {} : { pack: flag(pack, `${place}.pack`) }),
      ...(deep === undefined ? {} : { deep: flag(deep, `${place}.deep`) }),
    }
  }
  const known = ['$schema', 'every', 'settle', 'minimum', 'most', 'stop', 'rules', 'never']
  const { every, settle, minimum, most, stop, rules, never } = object(document, '', known)
  if (stop !== undefined && stop !== 'detach' && stop !== 'leave')
    wrong('stop', `${shown(stop)} is neither "detach" nor "leave"`)
  const all = list(rules, 'rules').map(rule)
  if (all.length === 0) wrong('rules', 'there is none, so no process would ever be attached to')
  return {
    every: number(every, 'every', 1, 3600, 5),
    settle: number(settle, 'settle', 0, 86_400, 10),
    minimum: minimum === undefined ? 64 * 2 ** 20 : size(minimum, 'minimum'),
    most: Math.floor(number(most, 'most', 1, 10_000, 32)),
    stop: stop === 'leave' ? 'leave' : 'detach',
    rules: all,
    never: list(never, 'never').map((one, i) => match(one, `never[${i}]`)),
  }
}

/** What a match looks at. */
export interface Traits {
  /** All names that the program goes by. */
  readonly commands: readonly string[]
  /** Name and number. */
  readonly users: readonly string[]
  readonly cgroups: readonly string[]
}

/** The rule for a process; 'never' when it is to be left alone, undefined when no rule is about it. */
export function ruleFor(policy: Policy, traits: Traits): Rule | 'never' | undefined {
  if (policy.never.some(one => fits(one, traits))) return 'never'
  return policy.rules.find(one => fits(one.match, traits))
}

function fits({ command, user, cgroup }: Match, traits: Traits): boolean {
  return (
    (command === undefined || some(traits.commands, command)) &&
    (user === undefined || some(traits.users, user)) &&
    (cgroup === undefined || some(traits.cgroups, cgroup))
  )
}

const patterns = new Map<string, RegExp>()

function some(words: readonly string[], pattern: string): boolean {
  let expression = patterns.get(pattern)
  if (expression === undefined) {
    const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    expression = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's')
    patterns.set(pattern, expression)
  }
  return words.some(word => expression.test(word))
}
