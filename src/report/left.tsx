/** What is left: memory that no file explains, by mapping. */
import type { AuditReport } from '../audit/audit.ts'
import { formatBytes, PAGE, percent } from '../audit/words.ts'
import { hex, kindColours } from './kinds.ts'

const MOST = 12

export function Left({ report }: { readonly report: AuditReport }) {
  const { totals } = report
  const left = totals.unexplained + totals.duplicate
  if (left === 0) return null
  const of = (mapping: AuditReport['mappings'][number]): number => mapping.unexplained + mapping.duplicate
  const all = report.mappings.filter(mapping => of(mapping) > 0).toSorted((a, b) => of(b) - of(a))
  const most = of(all[0] ?? ({ unexplained: 1, duplicate: 0 } as AuditReport['mappings'][number]))
  const rest = all.slice(MOST).reduce((sum, mapping) => sum + of(mapping), 0)
  return (
    <section class="card">
      <h2>
        What is left{' '}
        <em>
          {formatBytes(left * PAGE)}, {percent(left, totals.pages)} of the memory
          {totals.duplicate === 0 ? '' : `; ${formatBytes(totals.duplicate * PAGE)} of it stand there twice`}
        </em>
      </h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th class="number">Left</th>
              <th class="number">Of mapping</th>
              <th>Mapping</th>
              <th>Address</th>
              <th class="wide" aria-label="share" />
            </tr>
          </thead>
          <tbody>
            {all.slice(0, MOST).map(mapping => (
              <tr key={mapping.start}>
                <td class="number">{formatBytes(of(mapping) * PAGE)}</td>
                <td class="number soft">{percent(of(mapping), mapping.pages)}</td>
                <td>{mapping.name || 'anonymous'}</td>
                <td class="mono soft">{hex(mapping.start)}</td>
                <td class="wide">
                  <div class="meter">
                    <i
                      style={{
                        width: `${(100 * mapping.unexplained) / most}%`,
                        background: kindColours.unexplained,
                      }}
                    />
                    <i
                      style={{
                        width: `${(100 * mapping.duplicate) / most}%`,
                        background: kindColours.duplicate,
                      }}
                    />
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rest === 0 ? null : (
        <p class="soft note">
          {all.length - MOST} more mappings hold {formatBytes(rest * PAGE)}.
        </p>
      )}
    </section>
  )
}
