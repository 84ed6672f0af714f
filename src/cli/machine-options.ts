// What the subcommands of `lethe machine` have in common: which machine, and with what in it.
import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { MachineConfig } from '../machine/config.ts'
import { completed, machineConfig, withSetting } from '../machine/configure.ts'
import { MachineError } from '../machine/errors.ts'
import type { MachineState } from '../machine/state.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'

export interface MachineFlags {
  readonly preset?: string
  readonly config?: string
  readonly state?: string
  readonly set?: readonly string[]
}

/** Adds the options that choose a machine. */
export function machineOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--preset <name>',
        'lecture, p6, x86-64, sv39, osc or physical (default: lecture, or what --config says)',
      ),
    )
    .addOption(
      new Option('--config <file>', 'a machine as JSON, over its "preset"; may hold a "state" as well'),
    )
    .addOption(
      new Option(
        '--set <parameter=value>',
        'one parameter, such as tlb.ways=2 or caches.0.data.size=16k (repeatable)',
      ).argParser((text: string, all: string[] | undefined) => [...(all ?? []), text]),
    )
}

/** Reads a whole file; a CommandError says why it can't be. */
export function readWhole(path: string): Uint8Array {
  try {
    return readFileSync(path === '-' ? 0 : path)
  } catch (error) {
    throw new CommandError(
      exitCode.usage,
      `${path === '-' ? 'Standard input' : path} can't be read (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}

function json(path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(readWhole(path)))
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new UsageError(`${path} is not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${path} holds no object: a machine or a state is written as {…}`)
  return value as Record<string, unknown>
}

/** The machine that the flags name, and what is in it if they say that. `otherwise`: the preset without any flag. */
export function chosenMachine(
  flags: MachineFlags,
  otherwise = 'lecture',
): { config: MachineConfig; state: MachineState | undefined; given: object } {
  const file = flags.config === undefined ? {} : json(flags.config)
  const { state: inside, ...parts } = file
  let given: object = {
    preset: otherwise,
    ...parts,
    ...(flags.preset === undefined ? {} : { preset: flags.preset }),
  }
  for (const setting of flags.set ?? []) {
    const at = setting.indexOf('=')
    if (at < 1) throw new UsageError(`--set ${setting}: write parameter=value, such as tlb.ways=2`)
    // A place deep in a list (caches.0.data.size) needs the list that is there.
    given = withSetting(completed(given), setting.slice(0, at), setting.slice(at + 1))
  }
  const state = flags.state === undefined ? inside : (json(flags.state)['state'] ?? json(flags.state))
  return { config: machineConfig(given), state: state as MachineState | undefined, given }
}

/** 0x3a9, 937. UsageError. */
export function parseAddress(text: string): number {
  const address = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(address))
    throw new UsageError(`'${text}' is not an address: write it like 0x3a9 or 937`)
  return address
}

/** Addresses of a text file: the first word of each line that has one. */
export function addressesOf(path: string, text: string): number[] {
  return text.split('\n').flatMap((line, i) => {
    const word = line.trim().split(/[\s,]+/)[0] ?? ''
    if (word === '' || word.startsWith('#')) return []
    try {
      return [parseAddress(word)]
    } catch {
      throw new MachineError('trace', `${path}, line ${i + 1}: '${word.slice(0, 40)}' is not an address`)
    }
  })
}
