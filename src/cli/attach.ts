// lethe attach: starts (or finds, or revives) the pager of a process, says what came of it, and shows it at work.
import { Command } from 'commander'
import type { Pager } from '../pager/start.ts'
import { examples, options, type PagerFlags, pagerOptions, parsePid } from './arguments.ts'
import { CommandError, UsageError } from './errors.ts'
import { paint, print, printJson, say } from './output.ts'
import { follow, summary } from './live.ts'
import { metricsOption, openMetrics } from './metrics.ts'

interface AttachFlags extends PagerFlags {
  readonly once?: boolean
  readonly metrics?: string
}

/** Milliseconds that a pager has to fall asleep before `--once` returns; it takes a third of that. */
const resting = 1000

export function attachCommand(): Command {
  return new Command('attach')
    .description("give back a process's memory that is a copy of files, and serve it from then on")
    .argument('<pid>', 'the process', parsePid)
    .addOption(options.backing())
    .addOption(options.budget())
    .addOption(options.pressure())
    .addOption(options.pack())
    .addOption(options.deep())
    .addOption(options.cpu())
    .addOption(options.awake())
    .addOption(metricsOption())
    .option('--once', 'make one pass, keep serving in the background, and return')
    .addOption(options.json('print JSON, one document a line'))
    .addOption(options.state())
    .addHelpText(
      'after',
      examples([
        ['lethe attach 1234', 'attach and watch; Ctrl-C puts everything back'],
        ['lethe attach 1234 --once', 'attach and return; lethe detach 1234 ends it'],
        ['lethe attach 1234 --backing /data', 'look in these files too'],
        ['lethe attach 1234 --budget 64M', 'keep at most 64 MiB of it resident'],
        ['lethe attach 1234 --metrics 9464', 'for Prometheus, at http://127.0.0.1:9464/metrics'],
        ['lethe attach 1234 --pressure', 'never make it wait for more than 1 % of its time'],
      ]),
    )
    .action(attach)
}

async function attach(pid: number, flags: AttachFlags): Promise<void> {
  if (flags.metrics === undefined) return serve(pid, flags)
  if (flags.once)
    throw new UsageError('--metrics needs attach to stay; leave out --once, or use lethe daemon')
  // Before anything is touched: a port that is taken is said first.
  let serving: Pager | undefined
  const { server } = await openMetrics(flags.metrics, async () => {
    const now = await serving?.status(2000).catch(() => undefined)
    return now === undefined ? [] : [now]
  })
  try {
    await serve(pid, flags, pager => {
      serving = pager
    })
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

async function serve(pid: number, flags: AttachFlags, started?: (pager: Pager) => void): Promise<void> {
  const { startPager } = await import('../pager/start.ts')
  const pager = await startPager(pid, pagerOptions(flags))
  started?.(pager)
  const detach = detachOnSignal(pager, flags.once === true, flags.json === true)
  const status = await settled(pager, flags.once === true)
  if (status === undefined) {
    if (flags.json) printJson({ type: 'ended', pid })
    else print(`${pid} ended before the first pass was over`)
    return
  }
  if (flags.json) printJson({ ...status, type: 'attached', found: pager.found })
  else {
    for (const line of summary(status, pager.found)) print(line)
    for (const report of status.refused) say(report)
  }
  if (flags.once) {
    // Who looks at what is left when we have returned sees what stays: without a pager that has just finished its work.
    if (!pager.found && flags.awake !== true && flags.pressure === undefined) await pager.asleep(resting)
    return
  }
  await follow(pager, flags.json === true, () => detach.asked)
  if (detach.asked) await detach.done
  else if (flags.json) printJson({ type: 'ended', pid })
  else print(`${pid} ${paint('dim', 'has ended')}`)
}

// A pager that was there has made its first pass long ago: with --once it makes another.
async function settled(
  pager: Pager,
  once: boolean,
): Promise<ReturnType<Pager['status']> extends Promise<infer S> ? S : never> {
  const answer = await pager.ask({ ask: once && pager.found ? 'pass' : 'settled' }, 24 * 3600 * 1000)
  if (answer?.type === 'waiting')
    throw new CommandError(
      1,
      `Process ${pager.pid} was started by lethe run, which attaches by itself when there is enough memory; try again later`,
    )
  return answer?.type === 'status' ? answer : undefined
}

// The first signal detaches, the second leaves the pager serving. With --once there is nothing to wait for but the first pass.
function detachOnSignal(pager: Pager, once: boolean, json: boolean): { asked: boolean; done: Promise<void> } {
  const state = { asked: false, done: Promise.resolve() }
  const onSignal = (signal: NodeJS.Signals): void => {
    const code = 128 + (signal === 'SIGINT' ? 2 : signal === 'SIGTERM' ? 15 : 1)
    if (once) process.exit(code)
    if (state.asked) {
      say(`process ${pager.pid} is left attached; 'lethe detach ${pager.pid}' puts its memory back`)
      process.exit(code)
    }
    state.asked = true
    if (process.stdout.isTTY && !json) process.stdout.write('\n')
    say(`putting the memory of process ${pager.pid} back; once more to leave it attached`)
    state.done = pager.ask({ ask: 'detach' }, 600_000).then(
      () => {
        if (json) printJson({ type: 'detached', pid: pager.pid })
        else print(`${pager.pid} detached`)
      },
      (error: Error) => {
        say(error.message)
        process.exitCode = 1
      },
    )
    void state.done.then(() => process.exit(process.exitCode ?? 0))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  return state
}
