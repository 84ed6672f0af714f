/** How memory came to hold bytes of files, and which files. */
import { useState } from 'preact/hooks'
import type { AuditReport } from '../audit/audit.ts'
import {
  byPattern,
  formatBytes,
  formatMicroseconds,
  PAGE,
  pageMicroseconds,
  percent,
} from '../audit/words.ts'
import { kindAdvice, kindColours, kindNames, patternAdvice, patternColours, patternNames } from './kinds.ts'

interface Row {
  readonly name: string
  readonly bytes: number
  readonly colour: string
  readonly text: string
}

export function Patterns({ report }: { readonly report: AuditReport }) {
  const { totals } = report
  const total = totals.pages * PAGE
  const copied = byPattern(report.files).map(
    ([pattern, bytes]): Row => ({
      name: patternNames[pattern],
      bytes,
      colour: patternColours[pattern],
      text: patternAdvice[pattern],
    }),
  )
  const others = (['zero', 'duplicate', 'unexplained'] as const)
    .filter(kind => totals[kind] > 0)
    .map(
      (kind): Row => ({
        name: kindNames[kind],
        bytes: totals[kind] * PAGE,
        colour: kindColours[kind],
        text: kindAdvice[kind],
      }),
    )
  const rows = [...copied, ...others]
  const most = Math.max(1, ...rows.map(({ bytes }) => bytes))
  return (
    <section class="card">
      <h2>How it was copied</h2>
      {copied.length === 0 ? <p class="soft">Nothing of it is in a file that was looked at.</p> : null}
      <ul class="patterns">
        {rows.map(({ name, bytes, colour, text }) => (
          <li key={name}>
            <div class="row">
              <b>{name}</b>
              <span>
                {formatBytes(bytes)} · {percent(bytes, total)}
              </span>
            </div>
            <div class="meter">
              <i style={{ width: `${(100 * bytes) / most}%`, background: colour }} />
            </div>
            <p>{text}</p>
          </li>
        ))}
      </ul>
    </section>
  )
}

const FIRST = 12

export function Files({ report }: { readonly report: AuditReport }) {
  const [whole, setWhole] = useState(false)
  const { files } = report
  if (files.length === 0) return null
  const shown = whole ? files : files.slice(0, FIRST)
  const total = report.totals.pages * PAGE
  return (
    <section class="card">
      <h2>
        From what <em>files that explain memory, and what a page of them costs to make again</em>
      </h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th class="number">Memory</th>
              <th class="number">Share</th>
              <th>File</th>
              <th>Lens</th>
              <th>Found by</th>
              <th class="number" title="runs of memory that hold consecutive bytes of it">
                Runs
              </th>
              <th class="number">A page</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(file => (
              <tr key={`${file.lens} ${file.path}`}>
                <td class="number">{formatBytes(file.bytes)}</td>
                <td class="number soft">{percent(file.bytes, total)}</td>
                <td class="path" title={file.path}>
                  <bdi>{file.path || 'zeros'}</bdi>
                </td>
                <td>
                  <i class="dot" style={{ background: patternColours[file.pattern] }} />
                  {file.lens}
                </td>
                <td class="soft">{file.how}</td>
                <td class="number">{file.runs.toLocaleString('en')}</td>
                <td class="number">
                  {file.price === undefined ? '–' : formatMicroseconds(pageMicroseconds(file.price))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {files.length > FIRST ? (
        <button type="button" class="more" onClick={() => setWhole(!whole)}>
          {whole ? 'Fewer' : `All ${files.length}`}
        </button>
      ) : null}
    </section>
  )
}
