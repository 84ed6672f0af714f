// lethe machine: what its commands stand in.
import { Command } from 'commander'
import { examples } from './arguments.ts'
import { throwing } from './frame.ts'

const machines = `Machines (--preset):
  lecture   14-bit virtual and 12-bit physical addresses, pages of 64 bytes
  p6        32 bits, pages of 4 KiB, page tables of two levels
  x86-64    48 bits, pages of 4 KiB, four levels
  sv39      39 bits, pages of 4 KiB, three levels
  osc       16 bits, pages of 256 bytes: a textbook's exercise
  physical  no virtual memory at all
Every parameter of them is free: --set tlb.ways=2, or a whole machine as JSON with --config.`

const ways = [
  ['lethe machine translate 0x03a9', 'one address, every blank of the problem sheet'],
  ['lethe machine translate --quiz 7', 'new problems, with answers'],
  ['lethe machine program swap --steps 12', 'a page fault, step by step'],
  ['seq 0 4096 262144 | lethe machine run --preset p6 -', 'addresses through the whole machine'],
  ['lethe machine policies pages.txt --page-size 1', 'which page should go?'],
] as const

const further =
  'docs/machine.md goes through a lecture on virtual memory with these commands; lethe lab shows it in a browser.\n'

/** lethe machine with these commands. */
export function machineWith(parts: readonly Command[]): Command {
  const command = new Command('machine')
    .description('a simulated machine with virtual memory: translate addresses, run traces, compare')
    .usage('<command> [options]')
    .enablePositionalOptions()
    .helpCommand('help [command]', 'print help for a command')
    .addHelpText('after', `\n${machines}\n${examples([...ways])}\n${further}`)
  for (const part of parts) command.addCommand(throwing(part))
  return command
}
