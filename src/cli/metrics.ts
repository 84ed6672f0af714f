// --metrics, of attach and daemon.
import type { Server } from 'node:http'
import { Option } from 'commander'
import type { Metrics } from '../metrics/metrics.ts'
import type { PagerStatus } from '../pager/main.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { say } from './output.ts'

export const metricsOption = (): Option =>
  new Option(
    '--metrics <address>',
    'serve Prometheus metrics at PORT of this machine, or at ADDRESS:PORT; needs prom-client',
  )

/** Serves `now` at the address that was given. Throws CommandError. */
export async function openMetrics(
  text: string,
  now: () => Promise<readonly PagerStatus[]>,
): Promise<{ readonly server: Server; readonly metrics: Metrics }> {
  const { Metrics: Made, MetricsError } = await import('../metrics/metrics.ts')
  const { parseAddress, serveMetrics } = await import('../metrics/server.ts')
  const address = parseAddress(text)
  if (address === undefined)
    throw new UsageError(`--metrics ${text}: give a port, or an address and a port, such as 127.0.0.1:9464`)
  let metrics: Metrics
  try {
    metrics = await Made.open()
  } catch (error) {
    if (error instanceof MetricsError) throw new CommandError(exitCode.impossible, error.message)
    throw error
  }
  try {
    const { server, url } = await serveMetrics(metrics, address, now)
    say(`metrics at ${url}`)
    return { server, metrics }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CommandError(
      exitCode.failed,
      `--metrics ${text} can't be opened (${code ?? (error as Error).message}); give another port or address`,
    )
  }
}
