// lethe daemon: keeps the processes of a machine attached as a policy says. Made for a service manager: it stays in the foreground.
import { Command } from 'commander'
import type { Event } from '../daemon/daemon.ts'
import { examples, options } from './arguments.ts'
import { CommandError, exitCode } from './errors.ts'
import { metricsOption, openMetrics } from './metrics.ts'
import { print, printJson, say } from './output.ts'
import { formatSize } from './size.ts'

interface DaemonFlags {
  readonly policy: string
  readonly dryRun?: boolean
  readonly metrics?: string
  readonly json?: boolean
  readonly state?: string
}

export function daemonCommand(): Command {
  return new Command('daemon')
    .description('keep processes attached as a policy says, those that come too')
    .requiredOption('--policy <file>', 'which processes, how, and which never: JSON, see docs/reports.md')
    .option('--dry-run', 'check the policy, say which processes it is about now, and end')
    .addOption(metricsOption())
    .addOption(options.json('print JSON, one event a line'))
    .addOption(options.state())
    .addHelpText(
      'after',
      `\nSIGHUP reads the policy again. SIGTERM puts everything back and ends, unless the policy says to leave it.\n${examples(
        [
          [
            'lethe daemon --policy /etc/lethe/policy.json',
            'in the foreground; packaging/ has a systemd unit',
          ],
          ['lethe daemon --policy policy.json --dry-run', 'what would be attached to'],
          ['lethe daemon --policy policy.json --metrics 9464', 'with metrics for Prometheus'],
        ],
      )}`,
    )
    .action(daemon)
}

async function daemon(flags: DaemonFlags): Promise<void> {
  const { PolicyError, readPolicy } = await import('../daemon/policy.ts')
  const { Daemon } = await import('../daemon/daemon.ts')
  const read = (): ReturnType<typeof readPolicy> => {
    try {
      return readPolicy(flags.policy)
    } catch (error) {
      if (error instanceof PolicyError) throw new CommandError(exitCode.usage, error.message)
      throw error
    }
  }
  const policy = read()
  const tell = (event: Event): void => {
    if (flags.json) printJson(event)
    else print(sentence(event))
  }
  const keeper = new Daemon({ policy, state: flags.state, tell })
  if (flags.dryRun) {
    const { commandLine } = await import('../process/target.ts')
    for (const { pid, rule, anonymous } of keeper.wanted()) {
      if (flags.json) printJson({ type: 'wanted', pid, rule: rule.name, anonymous })
      else print(`${pid}  ${rule.name}  ${formatSize(anonymous)}  ${commandLine(pid)}`)
    }
    return
  }
  const { whyNot } = await import('./doctor.ts')
  const obstacle = await whyNot(flags.state)
  if (obstacle !== undefined) throw new CommandError(exitCode.impossible, obstacle)
  const serving =
    flags.metrics === undefined ? undefined : await openMetrics(flags.metrics, () => keeper.statuses())
  serving?.metrics.gauge('lethe_daemon_attached', 'Processes that the daemon serves.', () => keeper.attached)
  serving?.metrics.gauge(
    'lethe_daemon_refused',
    "Processes that a rule was about and that can't be served.",
    () => keeper.refused,
  )
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => keeper.stop())
  process.on('SIGHUP', () => {
    try {
      keeper.policy = read()
    } catch (error) {
      say(`${(error as Error).message}; the policy stays as it was`)
    }
  })
  try {
    tell({ type: 'policy', rules: policy.rules.length })
    await keeper.run()
  } finally {
    serving?.server.close()
    serving?.server.closeAllConnections()
  }
}

function sentence(event: Event): string {
  switch (event.type) {
    case 'attached':
      return `${event.pid} attached (${event.rule}): ${formatSize(event.virtual)} of ${formatSize(event.before)} given back`
    case 'refused':
      return `${event.pid} is left alone (${event.rule}): ${event.why}`
    case 'later':
      return `${event.pid} is tried again in ${event.seconds} s: ${event.why}`
    case 'ended':
      return `${event.pid} has ended`
    case 'revived':
      return `${event.pid} has a new pager`
    case 'detached':
      return `${event.pid} detached`
    case 'policy':
      return `policy: ${event.rules} ${event.rules === 1 ? 'rule' : 'rules'}`
  }
}
