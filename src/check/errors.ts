// The errors of a run: each is told once per call stack, and counted.
import type { CallStacks } from './stacks.ts'

/** What can be wrong. Stable: suppressions and SARIF use these words. */
export type ErrorKind =
  | 'invalid-read'
  | 'invalid-write'
  | 'use-after-free'
  | 'dead-local'
  | 'null-pointer'
  | 'wild-pointer'
  | 'uninitialised-branch'
  | 'uninitialised-address'
  | 'uninitialised-argument'
  | 'invalid-free'
  | 'double-free'
  | 'mismatched-free'
  | 'overlap'
  | 'bad-size'
  | 'trap'
  | 'leak-definite'
  | 'leak-indirect'
  | 'leak-possible'
  | 'leak-reachable'

/** One level of a call stack. */
export interface CheckFrame {
  /** Index in the module as it came. */
  readonly func: number
  readonly name: string
  readonly file: string | undefined
  readonly line: number | undefined
  /** The byte of the instruction in the module, or -1. */
  readonly offset: number
}

/** What an error says beside where it happened: a sentence, and a stack of its own where there is one. */
export interface Note {
  readonly text: string
  readonly frames: readonly CheckFrame[]
}

export interface CheckFinding {
  readonly kind: ErrorKind
  readonly message: string
  /** Bytes that were touched, where that says something. */
  readonly size: number | undefined
  readonly address: number | undefined
  /** The block that is concerned. */
  readonly block: { readonly start: number; readonly size: number } | undefined
  readonly frames: readonly CheckFrame[]
  readonly notes: readonly Note[]
  /** How often. Of a leak: blocks. */
  count: number
  /** Of a leak. */
  readonly bytes?: number
}

/** Resolves a stack's sites. */
export type Describe = (sites: Iterable<number>) => CheckFrame[]

export interface Raised {
  readonly kind: ErrorKind
  readonly message: string
  readonly size?: number
  readonly address?: number
  readonly block?: { readonly start: number; readonly size: number } | undefined
  readonly notes?: readonly Note[]
  /** A function of the program's library that was checked as a whole. */
  readonly inside?: string | undefined
}

/** Past so many different ones further errors are only counted. */
const MOST = 1000

export class ErrorLog {
  readonly findings: CheckFinding[] = []
  /** Every occurrence, also those past the limit; suppressed ones apart. */
  errors = 0
  suppressed = 0
  readonly #seen = new Map<string, CheckFinding | 'suppressed'>()
  readonly #stacks: CallStacks
  readonly #describe: Describe
  readonly #suppress: (finding: CheckFinding) => boolean
  readonly #tell: (finding: CheckFinding) => void

  constructor(
    stacks: CallStacks,
    describe: Describe,
    suppress: (finding: CheckFinding) => boolean,
    tell: (finding: CheckFinding) => void,
  ) {
    this.#stacks = stacks
    this.#describe = describe
    this.#suppress = suppress
    this.#tell = tell
  }

  /** `raise` makes the error's words only if this place has not had it. */
  add(kind: string, stack: number, inside: string | undefined, raise: () => Raised): void {
    const key = `${kind} ${stack} ${inside ?? ''}`
    const known = this.#seen.get(key)
    if (known === 'suppressed') {
      this.suppressed++
      return
    }
    if (known !== undefined) {
      this.errors++
      known.count++
      return
    }
    const raised = raise()
    const frames = this.#describe(this.#stacks.sites(stack))
    const own =
      inside === undefined ? [] : [{ func: -1, name: inside, file: undefined, line: undefined, offset: -1 }]
    this.record(key, true, {
      kind: raised.kind,
      message: raised.message,
      size: raised.size,
      address: raised.address,
      block: raised.block,
      frames: [...own, ...frames],
      notes: raised.notes ?? [],
      count: 1,
    })
  }

  /** A finding that is whole. `counts`: it is an error. False: it is suppressed. */
  record(key: string, counts: boolean, finding: CheckFinding): boolean {
    if (this.#suppress(finding)) {
      this.suppressed++
      this.#seen.set(key, 'suppressed')
      return false
    }
    if (counts) this.errors += finding.bytes === undefined ? finding.count : 1
    this.#seen.set(key, finding)
    if (this.findings.length < MOST) {
      this.findings.push(finding)
      this.#tell(finding)
    }
    return true
  }
}
