// lethe detach: puts everything back and leaves the process as it would be without us.
import { Command } from 'commander'
import { examples, options, parsePid } from './arguments.ts'
import { CommandError } from './errors.ts'
import { print, printJson } from './output.ts'
import { formatSize } from './size.ts'

interface DetachFlags {
  readonly json?: boolean
  readonly state?: string
}

export function detachCommand(): Command {
  return new Command('detach')
    .description("put a process's memory back and leave it")
    .argument('<pid>', 'an attached process', parsePid)
    .addOption(options.json())
    .addOption(options.state())
    .addHelpText('after', examples([['lethe detach 1234', 'everything back in memory, the pager gone']]))
    .action(detach)
}

async function detach(pid: number, flags: DetachFlags): Promise<void> {
  const { findPager, startPager } = await import('../pager/start.ts')
  const { readRecord, stateDirectory, targetDirectory } = await import('../pager/state-dir.ts')
  const { memoryFigures } = await import('../process/target.ts')
  let pager = await findPager(pid, flags.state)
  if (pager === undefined) {
    const record = readRecord(targetDirectory(stateDirectory(flags.state), pid))
    if (record === undefined)
      throw new CommandError(1, `Process ${pid} is not attached; 'lethe status' lists those that are`)
    // Its pager is dead: one more, to put everything back.
    pager = await startPager(pid, { ...record.options, state: flags.state })
  }
  const began = performance.now()
  const answer = await pager.ask({ ask: 'detach' }, 600_000)
  if (answer === undefined) {
    const now = memoryFigures(pid)
    if (now !== undefined)
      throw new CommandError(1, `The pager of process ${pid} ended before it had detached; try again`)
  }
  const anonymous = memoryFigures(pid)?.anonymous ?? 0
  const seconds = (performance.now() - began) / 1000
  if (flags.json) printJson({ type: 'detached', pid, anonymous, seconds })
  else
    print(
      `${pid} detached: ${formatSize(anonymous)} of anonymous memory are resident again; ${seconds.toFixed(1)} s`,
    )
}
