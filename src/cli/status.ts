// lethe status: the processes that are attached.
import { Command } from 'commander'
import type { PagerStatus } from '../pager/main.ts'
import type { Attached } from '../pager/start.ts'
import { examples, options } from './arguments.ts'
import { columns, paint, print, printJson, say } from './output.ts'
import { formatSize } from './size.ts'

interface StatusFlags {
  readonly json?: boolean
  readonly state?: string
}

export function statusCommand(): Command {
  return new Command('status')
    .description('list the processes that are attached')
    .addOption(options.json())
    .addOption(options.state())
    .addHelpText(
      'after',
      examples([
        ['lethe status', 'one line for each process'],
        ['lethe status --json', 'one document with all figures'],
      ]),
    )
    .action(status)
}

async function status(flags: StatusFlags): Promise<void> {
  const { listPagers } = await import('../pager/start.ts')
  const { commandLine } = await import('../process/target.ts')
  const all = await listPagers(flags.state)
  if (flags.json) {
    printJson({ type: 'attached', processes: all.map(one => document(one, commandLine(one.pid))) }, 2)
    return
  }
  if (all.length === 0) {
    say('nothing is attached')
    return
  }
  const head = ['pid', 'resident', 'virtual', 'faults', 'refilled', 'longest pause', 'pager', 'command']
  const rows = all.map(one => row(one, commandLine(one.pid)))
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map(r => (r[i] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padStart(widths[i] ?? 0))).join('  ')
  print(paint('bold', line(head)))
  const width = process.stdout.isTTY ? Math.max(columns(), 80) : Number.POSITIVE_INFINITY
  for (const r of rows) print(line(r).slice(0, width))
  for (const one of all)
    if (one.answer === undefined)
      say(
        `the pager of process ${one.pid} is dead: 'lethe attach ${one.pid}' starts another (see ${one.log})`,
      )
}

function document({ pid, answer, log }: Attached, command: string): object {
  if (answer === undefined) return { type: 'dead', pid, command, remedy: `lethe attach ${pid}`, log }
  return answer.type === 'status' ? answer : { ...answer, command }
}

function row({ pid, answer }: Attached, command: string): string[] {
  if (answer?.type === 'status') return figures(answer)
  const word = answer === undefined ? 'dead' : 'waiting'
  return [String(pid), '-', '-', '-', '-', '-', word, command]
}

function figures(s: PagerStatus): string[] {
  return [
    String(s.pid),
    formatSize(s.now.anonymous),
    formatSize(s.virtual),
    String(s.faults),
    formatSize(s.refilled),
    `${s.pauses.longestMs.toFixed(1)} ms`,
    formatSize(s.own),
    s.command,
  ]
}
