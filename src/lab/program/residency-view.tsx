/** What was resident when: time to the right, addresses down. Played, pages are seen to leave and to come back. */
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { Plot } from '../plot.tsx'
import { type Residency, size } from './document.ts'

const HEIGHT = 256

export function ResidencyView({ residency, place, go }: { residency: Residency } & ViewProps) {
  const { samples, cell } = residency
  const last = samples.length
  const step = numberIn(place, 'step', last, last)
  const at = samples[Math.max(0, step - 1)]
  const rows = useMemo(() => cellsUsed(residency), [residency])
  const x = useMemo(() => samples.map(({ ms }) => ms), [samples])
  const series = useMemo(
    () => [
      { name: 'resident', values: samples.map(one => one.resident), colour: '--c1', strong: true },
      // Where nobody counted it there is nothing to show.
      ...(samples.some(one => one.kept > 0)
        ? [{ name: 'kept on the side', values: samples.map(one => one.kept), colour: '--c2' }]
        : []),
    ],
    [samples],
  )
  if (at === undefined) return null
  const before = samples[step - 2]
  const faults = at.faults - (before?.faults ?? 0)
  return (
    <>
      <Player
        kinds={samples.map((one, i) => (one.faults > (samples[i - 1]?.faults ?? 0) ? 'minor-fault' : 'hit'))}
        step={step}
        onStep={to => go({ step: to === last ? '' : to })}
      />
      <div class="stage heap">
        <section class="column">
          <div class="card">
            <h2>
              What was resident{' '}
              <em>
                after {at.ms.toFixed(0)} ms: {size(at.resident)}
                {faults > 0 ? `, ${faults.toLocaleString('en')} faults since the moment before` : ''}
              </em>
            </h2>
            <Picture residency={residency} rows={rows} step={step} onStep={to => go({ step: to })} />
            <p class="key">
              Time to the right, addresses down to {size(rows * cell)}; the column on the right is this
              moment.
            </p>
          </div>
        </section>
        <section class="column narrow">
          <div class="card">
            <h2>
              Bytes <em>over milliseconds</em>
            </h2>
            <Plot x={x} series={series} xLabel="ms" height={HEIGHT - 10} at={at.ms} />
          </div>
        </section>
      </div>
    </>
  )
}

function cellsUsed({ samples }: Residency): number {
  let rows = 1
  for (const { cells } of samples) for (let c = rows; c < cells.length; c++) if (cells[c] !== 0) rows = c + 1
  return rows
}

function Picture({
  residency: { samples },
  rows,
  step,
  onStep,
}: {
  residency: Residency
  rows: number
  step: number
  onStep: (step: number) => void
}) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const moment = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const draw = (): void => {
      if (canvas.current !== null)
        paint(
          canvas.current,
          samples.map(({ cells }) => cells),
          rows,
          step,
        )
      const now = samples[Math.max(0, step - 1)]
      if (moment.current !== null && now !== undefined) paint(moment.current, [now.cells], rows, 1)
    }
    draw()
    const theme = new MutationObserver(draw)
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => theme.disconnect()
  }, [samples, rows, step])
  const seek = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect()
    onStep(Math.max(1, Math.ceil(((event.clientX - box.left) / box.width) * samples.length)))
  }
  return (
    <div class="residency">
      <canvas
        ref={canvas}
        width={samples.length}
        height={rows}
        style={{ height: `${HEIGHT}px` }}
        onClick={seek}
        role="img"
        aria-label={`What was resident at ${samples.length} moments`}
      />
      <canvas ref={moment} class="moment" width={1} height={rows} style={{ height: `${HEIGHT}px` }} />
    </div>
  )
}

// A column for each moment; what is later than the present one is pale.
function paint(canvas: HTMLCanvasElement, columns: readonly Uint8Array[], rows: number, step: number): void {
  const context = canvas.getContext('2d')
  if (context === null) return
  const ink = getComputedStyle(canvas).getPropertyValue('--c1').trim()
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.fillStyle = ink
  for (const [x, cells] of columns.entries())
    for (let y = 0; y < rows; y++) {
      context.globalAlpha = ((cells[y] ?? 0) / 255) * (x < step ? 1 : 0.3)
      if (context.globalAlpha > 0) context.fillRect(x, y, 1, 1)
    }
}
