/** The coverage curve: which share would be explained if memory came in smaller or larger blocks than pages. */
import { useState } from 'preact/hooks'
import type { AuditReport } from '../audit/audit.ts'
import type { Grain, GrainPoint } from '../audit/grain.ts'
import { formatBytes, grainSentence, PAGE, verdict } from '../audit/words.ts'

const WIDTH = 560
const HEIGHT = 270
const LEFT = 44
const RIGHT = 12
const TOP = 12
const BOTTOM = 30
const answers = { no: 'No', 'a little': 'A little', yes: 'Yes' } as const

const sizeName = (bytes: number): string => (bytes < 1024 ? `${bytes}` : `${bytes / 1024}K`)
const share = (part: number): string => `${(part * 100).toFixed(1)} %`

export function Coverage({ report, grain }: { readonly report: AuditReport; readonly grain: Grain }) {
  const [at, setAt] = useState<number>()
  const { points } = grain
  const x = (i: number): number => LEFT + (i * (WIDTH - LEFT - RIGHT)) / Math.max(1, points.length - 1)
  const y = (part: number): number => TOP + (1 - part) * (HEIGHT - TOP - BOTTOM)
  const line = (of: (point: GrainPoint) => number): string =>
    points.map((point, i) => `${i === 0 ? 'M' : 'L'}${x(i).toFixed(1)},${y(of(point)).toFixed(1)}`).join('')
  const back = (of: (point: GrainPoint) => number): string =>
    points
      .map((point, i) => `L${x(i).toFixed(1)},${y(of(point)).toFixed(1)}`)
      .toReversed()
      .join('')
  const both = (point: GrainPoint): number => point.files + point.constant
  const answer = verdict(grain)
  const page = points.findIndex(({ bytes }) => bytes === PAGE)
  const shown = points[at ?? page]
  const move = (event: MouseEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect()
    const place = ((event.clientX - box.left) / box.width) * WIDTH
    const step = (WIDTH - LEFT - RIGHT) / Math.max(1, points.length - 1)
    setAt(Math.max(0, Math.min(points.length - 1, Math.round((place - LEFT) / step))))
  }
  return (
    <section class="card">
      <h2>Are pages too coarse?</h2>
      <p class="answer">
        <strong>{answers[answer.answer]}.</strong>{' '}
        {sentence(grainSentence(answer, report.totals.pages * PAGE))}
      </p>
      <svg
        class="curve"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label="Share of memory explained, by size of block"
        onMouseMove={move}
        onMouseLeave={() => setAt(undefined)}
      >
        {[0, 0.25, 0.5, 0.75, 1].map(part => (
          <g key={part}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(part)} y2={y(part)} />
            <text x={LEFT - 6} y={y(part) + 4} text-anchor="end">
              {part * 100} %
            </text>
          </g>
        ))}
        <path class="files" d={`${line(point => point.files)}${back(() => 0)}Z`} />
        <path class="constant" d={`${line(both)}${back(point => point.files)}Z`} />
        <path class="edge" d={line(both)} />
        <path class="net" d={line(point => point.net)} />
        <line class="page" x1={x(page)} x2={x(page)} y1={TOP} y2={HEIGHT - BOTTOM} />
        {at === undefined || at === page ? null : (
          <line class="at" x1={x(at)} x2={x(at)} y1={TOP} y2={HEIGHT - BOTTOM} />
        )}
        {points.map((point, i) => (
          <text
            key={point.bytes}
            x={x(i)}
            y={HEIGHT - 10}
            text-anchor="middle"
            class={i === page ? 'now' : ''}
          >
            {sizeName(point.bytes)}
          </text>
        ))}
      </svg>
      {shown === undefined ? null : (
        <ul class="keys">
          <li>
            <b>{shown.bytes < 1024 ? `${shown.bytes} B` : `${shown.bytes / 1024} KiB`}</b>
          </li>
          <li>
            <i class="files" /> in files {share(shown.files)}
          </li>
          <li>
            <i class="constant" /> one byte repeated {share(shown.constant)}
          </li>
          <li>
            <i class="net" /> net of 8 B a block {share(shown.net)}
          </li>
        </ul>
      )}
      <p class="soft note">
        {grain.sampled === 0
          ? 'Nothing is left to look at below pages.'
          : `Below 4 KiB: ${grain.sampled.toLocaleString('en')} of ${grain.unexplained.toLocaleString('en')} unexplained pages, looked for in ${formatBytes(grain.searched)} of files. Small blocks are found by chance too.`}
      </p>
    </section>
  )
}

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`
