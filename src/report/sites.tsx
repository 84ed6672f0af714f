/** Who asked for the memory that files explain: places in the program, each with its stack behind a click. */
import { useState } from 'preact/hooks'
import type { AuditReport, AuditSites } from '../audit/audit.ts'
import { formatBytes, PAGE, percent } from '../audit/words.ts'
import { baseName } from './kinds.ts'

const FIRST = 12

export function Sites({ report, sites }: { readonly report: AuditReport; readonly sites: AuditSites }) {
  const [whole, setWhole] = useState(false)
  const explained = (report.totals.explained + report.totals.virtual) * PAGE
  const { list, complete } = sites
  const shown = whole ? list : list.slice(0, FIRST)
  const known = list.reduce((sum, site) => sum + site.explained, 0)
  return (
    <section class="card">
      <h2>
        Who asked for it <em>places in the program, with what of the explained memory is theirs</em>
      </h2>
      {list.length === 0 ? (
        <p class="soft">
          Nothing was recorded: the program is statically linked or setuid, or brings its own malloc in its
          executable.
        </p>
      ) : (
        <table class="sites">
          <thead>
            <tr>
              <th class="number">Memory</th>
              <th class="number">Share</th>
              <th>Place, and who called it</th>
              <th>Is</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(({ name, stack, explained: bytes, freed, sources: [first, ...others] }) => (
              <tr key={stack.join()}>
                <td class="number">{formatBytes(bytes)}</td>
                <td class="number soft">{percent(bytes, explained)}</td>
                <td>
                  <details>
                    <summary>{name}</summary>
                    <ol>
                      {stack.map((frame, i) => (
                        <li key={`${i} ${frame}`}>{frame}</li>
                      ))}
                    </ol>
                  </details>
                </td>
                <td title={first?.path}>
                  {baseName(first?.path ?? '')}
                  {first === undefined || first.lens === 'verbatim' ? '' : ` as ${first.lens}`}
                  {others.length > 0 ? `, and ${others.length} more` : ''}
                  {freed > bytes / 2 ? <span class="soft">; freed, but kept by malloc</span> : null}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {list.length > FIRST ? (
        <button type="button" class="more" onClick={() => setWhole(!whole)}>
          {whole ? 'Fewer' : `All ${list.length}`}
        </button>
      ) : null}
      {explained - known > explained / 200 && list.length > 0 ? (
        <p class="soft">
          {formatBytes(explained - known)} of it came about where nobody looked: before the recorder, or by an
          allocator of the program's own.
        </p>
      ) : null}
      {complete ? null : <p class="soft">The recorder had no more room: some places are missing.</p>}
    </section>
  )
}
