/**
 * The report of an audit: one page, made from the document that stands in it. Sections from top to bottom: what could be given
 * back and what that costs; where the memory is; who asked for it, if it was recorded; its pages in order of address; how it was copied, and from what; whether pages are too
 * coarse; what is left.
 */
import { render } from 'preact'
import type { AuditReport } from '../audit/audit.ts'
import { Coverage } from './coverage.tsx'
import { Head } from './head.tsx'
import { Left } from './left.tsx'
import { PageMapCard } from './page-map.tsx'
import { Files, Patterns } from './patterns.tsx'
import { Sites } from './sites.tsx'
import { Where } from './where.tsx'
import './style.css'

function App({ report }: { readonly report: AuditReport }) {
  const made = new Date(report.at).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short' })
  return (
    <>
      <Head report={report} />
      <main>
        <Where report={report} />
        {report.sites === undefined ? null : <Sites report={report} sites={report.sites} />}
        <PageMapCard report={report} />
        <div class="pair">
          <Patterns report={report} />
          {report.grain === undefined ? null : <Coverage report={report} grain={report.grain} />}
        </div>
        <Files report={report} />
        <Left report={report} />
        <footer>
          Made by <code>lethe audit</code> on {made}, Linux {report.kernel}, in {report.seconds.toFixed(1)} s,
          against {report.candidates} files. The process ran on; a page that changed while it was read counts
          as unexplained. Counted is private anonymous memory; stacks, shared memory and mapped files are not.
        </footer>
      </main>
    </>
  )
}

const text = document.getElementById('audit')?.textContent ?? ''
const app = document.getElementById('app') as HTMLElement
if (text === '') app.textContent = 'This page holds no audit: lethe audit --html FILE fills it in.'
else {
  const report = JSON.parse(text) as AuditReport
  document.title = `${report.pid} ${report.command.slice(0, 60)} – Lethe audit`
  render(<App report={report} />, app)
}
