// lethe doctor: what this machine allows, one line each, with the remedy.
import { Command } from 'commander'
import type { Capability } from '../sys/capabilities.ts'
import { examples, options } from './arguments.ts'
import { exitCode } from './errors.ts'
import { paint, print, printJson, type Style } from './output.ts'

interface DoctorFlags {
  readonly json?: boolean
  readonly state?: string
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say what this machine allows, with the remedy; exit code 3 when attach is not possible')
    .addOption(options.json())
    .addOption(options.state())
    .addHelpText('after', examples([['lethe doctor', 'one line for each capability, each really tried']]))
    .action(doctor)
}

async function doctor(flags: DoctorFlags): Promise<void> {
  const all = await capabilities(flags.state)
  const missing = obstacles(all)
  const attach = missing.length === 0
  if (flags.json) printJson({ type: 'doctor', attach, capabilities: all }, 2)
  else {
    const width = Math.max(...all.map(one => one.name.length))
    for (const one of all) print(line(one, width))
    const names = missing.map(one => one.name).join(', ')
    print(attach ? paint('green', 'attach is possible') : paint('red', `attach is not possible: ${names}`))
  }
  if (!attach) process.exitCode = exitCode.impossible
}

/** All that can be tried here; on machines that lethe does not know, only that. */
export async function capabilities(state?: string): Promise<Capability[]> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    const remedy = 'use an x86-64 machine with Linux 6.7 or later'
    return [
      {
        name: 'architecture',
        state: 'no',
        needed: true,
        detail: `${process.platform} ${process.arch}`,
        remedy,
      },
    ]
  }
  const { probe } = await import('../sys/capabilities.ts')
  const { stateDirectory } = await import('../pager/state-dir.ts')
  return probe(stateDirectory(state))
}

// What stands in the way of attach.
const obstacles = (all: readonly Capability[]): Capability[] =>
  all.filter(one => one.needed && one.state === 'no')

/** One sentence on why attach is impossible here, or undefined. */
export async function whyNot(state?: string): Promise<string | undefined> {
  const [missing] = obstacles(await capabilities(state))
  return missing && `Attaching is not possible here: ${missing.name}: ${missing.detail}; ${missing.remedy}`
}

function line(one: Capability, width: number): string {
  const styles: Record<Capability['state'], Style> = {
    yes: 'green',
    no: one.needed ? 'red' : 'yellow',
    note: 'dim',
  }
  const remedy = one.remedy === undefined ? '' : `; ${one.remedy}`
  return `${paint(styles[one.state], one.state.padEnd(4))}  ${one.name.padEnd(width)}  ${one.detail}${remedy}`
}
