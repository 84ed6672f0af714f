// lethe machine program: the lab's small programs in words, access by access.
import { Command, Option } from 'commander'
import type { Shot } from '../machine/film.ts'
import { programs } from '../machine/programs.ts'
import { hex } from '../machine/errors.ts'
import { tell } from '../machine/tell.ts'
import { examples, options } from './arguments.ts'
import { UsageError } from './errors.ts'
import { paint, print, printJson } from './output.ts'

interface Flags {
  readonly steps?: readonly [from: number, to: number]
  readonly short?: boolean
  readonly json?: boolean
}

function stepsOf(text: string): [number, number] {
  const [from, to = from] = text.split('-').map(part => (/^\d+$/.test(part) ? Number(part) : Number.NaN))
  if (from !== undefined && to !== undefined && from >= 1 && to >= from) return [from, to]
  throw new UsageError(`--steps ${text}: give a number from 1, or a range such as 3-8`)
}

export function programCommand(): Command {
  return new Command('program')
    .description('run a small program on the machine, and say what happens at each access')
    .argument('[name]', 'which; without it, all are listed')
    .addOption(new Option('--steps <range>', 'only these, such as 12 or 3-8').argParser(stepsOf))
    .addOption(new Option('--short', 'one line for each access'))
    .addOption(options.json())
    .addHelpText(
      'after',
      examples([
        ['lethe machine program', 'which there are'],
        ['lethe machine program swap --steps 12', 'one access, all that happens'],
        ['lethe machine program fork --short', 'all of it, a line for each access'],
      ]),
    )
    .action(program)
}

function program(name: string | undefined, flags: Flags): void {
  const shown = programs.filter(({ id }) => id !== 'own')
  if (name === undefined) {
    if (flags.json === true)
      return printJson({ type: 'programs', programs: shown.map(({ id, say }) => ({ id, say })) })
    for (const { id, say } of shown) print(`${paint('bold', id.padEnd(11))} ${say}`)
    return
  }
  const chosen = shown.find(({ id }) => id === name)
  if (chosen === undefined)
    throw new UsageError(`There is no program '${name}': there are ${shown.map(({ id }) => id).join(', ')}`)
  const { shots } = chosen.film('')
  const [from, to] = flags.steps ?? [1, shots.length - 1]
  if (from >= shots.length) throw new UsageError(`--steps ${from}: ${name} has ${shots.length - 1} steps`)
  shots
    .slice(from, to + 1)
    .forEach((shot, i) => (flags.json === true ? json(shot) : show(from + i, shot, flags)))
}

function json({ access, note }: Shot): void {
  printJson(access === undefined ? { type: 'act', note } : { ...access, note })
}

function show(step: number, { access, note }: Shot, { short }: Flags): void {
  const head = `${String(step).padStart(3)}  `
  if (access === undefined) return print(`${head}${note}`)
  const where = access.ppn === undefined ? '' : ` in frame ${hex(access.ppn)}`
  print(
    `${head}process ${access.process}: ${access.kind} ${hex(access.address, 3)}, page ${hex(access.vpn)}${where}: ${paint('bold', access.verdict)}${short === true ? `, ${access.cycles} cycles` : ''}${note === '' ? '' : `  (${note})`}`,
  )
  if (short !== true) for (const sentence of tell(access)) print(`       ${sentence}`)
}
