/**
 * A program state of the study: states/NAME.json, a program that has read something and holds it. `{log.txt}` in a
 * word stands for the path of an input file, `{folder}` for a folder of the state's own, `{node}` for this Node.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface State {
  readonly name: string
  readonly group: string
  /** What it is, for the table. */
  readonly about: string
  /** Debian packages that it needs. */
  readonly packages: readonly string[]
  /** Shell commands that make its folder; not measured. */
  readonly setup?: readonly string[]
  /** Where output is closed and `sh -c` is not wanted, a list of words. */
  readonly command: readonly string[]
  /** Runs in a terminal of its own, made by script(1). */
  readonly terminal?: boolean
  /** Shell commands that bring it into its state, when it runs. */
  readonly then?: readonly string[]
  /** Which of its processes is meant: a regular expression for the command line; the largest one that fits. */
  readonly process?: string
  /** It is stopped (SIGSTOP) when it has this many MB, and measured so; otherwise when its memory is stable. */
  readonly stopAt?: number
  /** What makes it use what it holds: a line for its input, keys for its terminal, or a shell command. */
  readonly use?: { readonly line?: string; readonly keys?: string; readonly shell?: string }
  /** Shell commands that end what `setup` or `then` have started. */
  readonly after?: readonly string[]
  /** A remark for the table. */
  readonly note?: string
  /**
   * What another program found in the like state before Lethe was there: per cent of its pages of so many MB (10^6 bytes) that are a
   * file's as a whole (through a lens, too), hold parsed numbers at a stride, and are a file's to 90 % or more.
   */
  readonly earlier?: {
    readonly pages: number
    readonly numbers?: number
    readonly nearly: number
    readonly megabytes: number
    /** Why that is not what is found now, where it is not. */
    readonly why?: string
  }
}

const folder = join(import.meta.dirname, 'states')

/** All states, by group and name. */
export function allStates(): State[] {
  const order: string[] = JSON.parse(
    readFileSync(join(import.meta.dirname, 'groups.json'), 'utf8'),
  ) as string[]
  return readdirSync(folder)
    .filter(name => name.endsWith('.json'))
    .map(name => ({
      name: basename(name, '.json'),
      ...(JSON.parse(readFileSync(join(folder, name), 'utf8')) as Omit<State, 'name'>),
    }))
    .toSorted((a, b) => order.indexOf(a.group) - order.indexOf(b.group) || a.name.localeCompare(b.name))
}
