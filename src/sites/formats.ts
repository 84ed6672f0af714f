/** Sites for other tools: folded stacks (flamegraph.pl, speedscope, inferno) and pprof (go tool pprof, Pyroscope, Firefox profiler). */
import { basename } from 'node:path'
import { gzipSync } from 'node:zlib'
import {
  Function as ProfileFunction,
  Line,
  Location,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format'
import { frameName } from './print.ts'
import type { SitesReport } from './sites.ts'
import type { Frame } from './symbols.ts'

const label = (frame: Frame): string => {
  const where =
    frame.file === undefined
      ? ''
      : ` (${basename(frame.file)}${frame.line === undefined ? '' : `:${frame.line}`})`
  // A semicolon and a line end mean something in folded stacks.
  return `${frameName(frame)}${where}`.replaceAll(';', ',').replaceAll('\n', ' ')
}

/** A line for each site with explained bytes: frames from the outermost in, and the bytes. */
export function folded(report: SitesReport): string {
  const lines = report.sites
    .filter(({ explained }) => explained > 0)
    .map(({ frames, explained }) => `${frames.toReversed().map(label).join(';') || '[unknown]'} ${explained}`)
  const nobody = report.totals.explained - report.totals.attributed
  if (nobody > 0) lines.push(`[unknown] ${nobody}`)
  return lines.map(line => `${line}\n`).join('')
}

/** A gzipped profile with three values for each site: explained bytes (the default), live bytes, live blocks. */
export function pprof(report: SitesReport): Uint8Array {
  const strings = new StringTable()
  const functions = new Map<string, ProfileFunction>()
  const locations = new Map<string, Location>()
  const functionOf = (frame: Frame): ProfileFunction => {
    const key = `${frameName(frame)}\n${frame.file ?? frame.module}`
    let known = functions.get(key)
    if (known === undefined) {
      known = new ProfileFunction({
        id: functions.size + 1,
        name: strings.dedup(frameName(frame)),
        systemName: strings.dedup(frame.function),
        filename: strings.dedup(frame.file ?? frame.module),
      })
      functions.set(key, known)
    }
    return known
  }
  const locationOf = (frame: Frame): Location => {
    const key = `${frameName(frame)}\n${frame.file ?? frame.module}\n${frame.line ?? 0}`
    let known = locations.get(key)
    if (known === undefined) {
      const line = new Line({ functionId: functionOf(frame).id, line: frame.line ?? 0 })
      known = new Location({ id: locations.size + 1, line: [line] })
      locations.set(key, known)
    }
    return known
  }
  const value = (type: string, unit: string): ValueType =>
    new ValueType({ type: strings.dedup(type), unit: strings.dedup(unit) })
  const profile = new Profile({
    sampleType: [value('explained', 'bytes'), value('live', 'bytes'), value('blocks', 'count')],
    sample: report.sites.map(
      ({ frames, explained, live, blocks }) =>
        new Sample({
          locationId: frames.map(frame => locationOf(frame).id),
          value: [explained, live, blocks],
        }),
    ),
    location: [...locations.values()],
    function: [...functions.values()],
    stringTable: strings,
    timeNanos: BigInt(Date.now()) * 1_000_000n,
    defaultSampleType: strings.dedup('explained'),
  })
  return gzipSync(profile.encode())
}
