/**
 * What pagers do, as Prometheus metrics. `Metrics` holds the registry of prom-client, an optional peer dependency; it is brought up
 * to date when it is scraped, and knows nothing between scrapes. Base units: seconds and bytes.
 */
import type { Counter, Gauge, Registry } from 'prom-client'
import type { PagerStatus } from '../pager/main.ts'

type Labels = 'pid' | 'command'
type Kind = 'gauge' | 'counter'

interface Figure {
  readonly name: string
  readonly kind: Kind
  readonly help: string
  readonly of: (status: PagerStatus) => number | undefined
}

const figures: readonly Figure[] = [
  {
    name: 'lethe_resident_bytes',
    kind: 'gauge',
    help: 'Resident memory of the process.',
    of: s => s.now.rss,
  },
  {
    name: 'lethe_anonymous_bytes',
    kind: 'gauge',
    help: 'Resident private anonymous memory of the process.',
    of: s => s.now.anonymous,
  },
  {
    name: 'lethe_virtual_bytes',
    kind: 'gauge',
    help: 'Memory that has been given back and is made again on demand.',
    of: s => s.virtual,
  },
  {
    name: 'lethe_clean_bytes',
    kind: 'gauge',
    help: 'Explained memory that is resident.',
    of: s => s.clean,
  },
  {
    name: 'lethe_pager_bytes',
    kind: 'gauge',
    help: 'Memory of the pager and its supervisor, packs and recipes included.',
    of: s => s.own,
  },
  { name: 'lethe_faults_total', kind: 'counter', help: 'Page faults answered.', of: s => s.faults },
  { name: 'lethe_refilled_bytes_total', kind: 'counter', help: 'Memory made again.', of: s => s.refilled },
  { name: 'lethe_dropped_bytes_total', kind: 'counter', help: 'Memory given back.', of: s => s.dropped },
  {
    name: 'lethe_writes_total',
    kind: 'counter',
    help: 'Explained pages that became ordinary because the process wrote them.',
    of: s => s.writes,
  },
  {
    name: 'lethe_stall_seconds_total',
    kind: 'counter',
    help: 'Time that the process has waited for refills, faults and stops.',
    of: s => s.stallSeconds,
  },
  { name: 'lethe_stops_total', kind: 'counter', help: 'Stops of all threads.', of: s => s.pauses.stops },
  {
    name: 'lethe_stop_seconds_total',
    kind: 'counter',
    help: 'Time that all threads stood still.',
    of: s => s.pauses.totalMs / 1000,
  },
  {
    name: 'lethe_stop_longest_seconds',
    kind: 'gauge',
    help: 'Longest single stop.',
    of: s => s.pauses.longestMs / 1000,
  },
  {
    name: 'lethe_pressure_ratio',
    kind: 'gauge',
    help: 'Present share of time that the process waits for us, where a limit is set.',
    of: s => s.pressure?.share,
  },
  {
    name: 'lethe_lost_bytes',
    kind: 'gauge',
    help: 'Memory that could not be made again; anything above 0 is a fault of ours or of the disk.',
    of: s => s.lost,
  },
  { name: 'lethe_passes_total', kind: 'counter', help: 'Searches through the memory.', of: s => s.passes },
]

/** prom-client, as far as it is used. */
interface PromClient {
  readonly Registry: new () => Registry
  readonly Gauge: typeof Gauge
  readonly Counter: typeof Counter
}

/** Thrown when prom-client is not there. */
export class MetricsError extends Error {
  readonly code = 'missing'
  constructor(cause: unknown) {
    super('Metrics need prom-client, which is not installed: npm install prom-client', { cause })
    this.name = 'MetricsError'
  }
}

export class Metrics {
  readonly #client: PromClient
  readonly #registry: Registry
  readonly #set: ((all: readonly PagerStatus[]) => void)[] = []

  private constructor(client: PromClient) {
    this.#client = client
    this.#registry = new client.Registry()
    const labelNames: readonly Labels[] = ['pid', 'command']
    const registers = [this.#registry]
    for (const { name, kind, help, of } of figures) {
      const settings = { name, help, labelNames, registers }
      const metric = kind === 'gauge' ? new client.Gauge(settings) : new client.Counter(settings)
      this.#set.push(all => {
        // A process that is no more leaves no row.
        metric.reset()
        for (const status of all) {
          const value = of(status)
          if (value !== undefined) metric.labels(labelsOf(status)).inc(value)
        }
      })
    }
    const refill = new client.Gauge({
      name: 'lethe_refill_seconds',
      help: 'Time that a refill of 64 KiB takes, by file and lens.',
      labelNames: [...labelNames, 'path', 'lens'],
      registers,
    })
    this.#set.push(all => {
      refill.reset()
      for (const status of all)
        for (const { path, lens, price, lost } of status.backings)
          if (lost === undefined) refill.labels({ ...labelsOf(status), path, lens }).set(price)
    })
  }

  /** Throws MetricsError when prom-client is not installed. */
  static async open(): Promise<Metrics> {
    try {
      return new Metrics(await import('prom-client'))
    } catch (error) {
      throw new MetricsError(error)
    }
  }

  /** A gauge of its own, for what is not of one process; `of` is asked when it is scraped. */
  gauge(name: string, help: string, of: () => number): void {
    const gauge = new this.#client.Gauge({ name, help, registers: [this.#registry] })
    this.#set.push(() => gauge.set(of()))
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The text of a scrape. */
  async text(all: readonly PagerStatus[]): Promise<string> {
    for (const set of this.#set) set(all)
    return this.#registry.metrics()
  }
}

const labelsOf = ({ pid, command }: PagerStatus): Record<Labels, string> => ({ pid: String(pid), command })
