/** The top: whose memory, how much of it could be given back, and what that costs. */
import type { AuditReport } from '../audit/audit.ts'
import { formatBytes, formatMicroseconds, netSentence, PAGE, percent } from '../audit/words.ts'
import { kindColours, kindNames, kinds, kindTexts } from './kinds.ts'

export function Head({ report }: { readonly report: AuditReport }) {
  const { totals, saving, attached } = report
  const saved = attached ? totals.virtual * PAGE : saving.now
  const share = (pages: number): string => percent(pages, totals.pages)
  return (
    <header class="head">
      <div class="inner">
        <div class="who">
          <span class="brand">Lethe audit</span>
          <h1 title={report.command}>{report.command || `process ${report.pid}`}</h1>
          <span class="meta">
            pid {report.pid} · {formatBytes(saving.rss)} resident · {attached ? 'attached' : 'not attached'}
          </span>
          <button type="button" class="quiet" onClick={switchTheme}>
            Theme
          </button>
        </div>
        <p class="lead">
          <strong>{formatBytes(saved)}</strong> of {formatBytes(totals.pages * PAGE)} private memory{' '}
          {attached ? 'have been given back.' : 'can be given back now.'}
        </p>
        <div class="bar" role="img" aria-label="What the memory is">
          {kinds
            .filter(kind => totals[kind] > 0)
            .map(kind => (
              <i
                key={kind}
                style={{ flexGrow: totals[kind], background: kindColours[kind] }}
                title={`${kindNames[kind]}: ${formatBytes(totals[kind] * PAGE)}`}
              />
            ))}
        </div>
        <ul class="legend">
          {kinds
            .filter(kind => totals[kind] > 0)
            .map(kind => (
              <li key={kind}>
                <i style={{ background: kindColours[kind] }} />
                <b>{kindNames[kind]}</b> {formatBytes(totals[kind] * PAGE)} <span>{share(totals[kind])}</span>
                <em>{kindTexts[kind]}</em>
              </li>
            ))}
        </ul>
        <dl class="figures">
          <div>
            <dt>Net of the pager</dt>
            <dd>{formatBytes(saving.net)}</dd>
            <p>
              {attached
                ? `${saving.net > 0 ? '' : 'Not worth it: '}a pager takes ${formatBytes(saving.own)} here`
                : netSentence(saving)}
            </p>
          </div>
          <div>
            <dt>A page back</dt>
            <dd>
              {saving.refillMicroseconds === undefined ? '–' : formatMicroseconds(saving.refillMicroseconds)}
            </dd>
            <p>
              16 at a time, as tried on these files
              {saving.worstMicroseconds === undefined
                ? ''
                : `; ${formatMicroseconds(saving.worstMicroseconds)} for the dearest`}
            </p>
          </div>
          <div>
            <dt>All of it back</dt>
            <dd>{saving.allSeconds === undefined ? '–' : formatMicroseconds(saving.allSeconds * 1e6)}</dd>
            <p>what the program waits in all, if it wants everything again</p>
          </div>
          <div>
            <dt>Stays</dt>
            <dd>
              {formatBytes((totals.unexplained + totals.duplicate + totals.unreadable) * PAGE + saving.dear)}
            </dd>
            <p>
              {saving.dear > 0
                ? `${formatBytes(saving.dear)} of it are in files, but too slow to make again`
                : 'in no file that was looked at'}
            </p>
          </div>
        </dl>
      </div>
    </header>
  )
}

function switchTheme(): void {
  const root = document.documentElement
  const dark =
    root.dataset['theme'] === 'dark' ||
    (root.dataset['theme'] === undefined && matchMedia('(prefers-color-scheme: dark)').matches)
  root.dataset['theme'] = dark ? 'light' : 'dark'
}
