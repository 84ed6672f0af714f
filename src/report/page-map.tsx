/** The pages in order of address, a square for a number of them, mapping by mapping. Small mappings share a row. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { AuditReport } from '../audit/audit.ts'
import type { MapCell } from '../audit/walk.ts'
import { formatBytes, PAGE } from '../audit/words.ts'
import {
  baseName,
  hex,
  kindColours,
  kindNames,
  type Kind,
  kinds,
  mappingName,
  patternColours,
} from './kinds.ts'
import { Tip, type TipPlace } from './tip.tsx'

const SIZE = 9
const GAP = 1
const STEP = SIZE + GAP

/** A band of the map: cells of one mapping, or of several small ones. */
interface Band {
  readonly name: string
  readonly bytes: number
  readonly cells: readonly MapCell[]
}

const pagesOf = (cell: MapCell): number => kinds.reduce((sum, kind) => sum + cell[kind], 0)

function bandsOf({ mappings, map }: AuditReport): Band[] {
  const bands: Band[] = []
  const small: MapCell[] = []
  let [smallCount, smallBytes, c] = [0, 0, 0]
  for (const mapping of mappings) {
    const cells: MapCell[] = []
    for (let cell = map.cells[c]; cell !== undefined && cell.start < mapping.end; cell = map.cells[++c])
      cells.push(cell)
    if (cells.length === 0) continue
    if (cells.length >= 24) bands.push({ name: mappingName(mapping), bytes: mapping.pages * PAGE, cells })
    else {
      small.push(...cells)
      smallCount++
      smallBytes += mapping.pages * PAGE
    }
  }
  if (small.length > 0)
    bands.push({
      name: smallCount === 1 ? 'one small mapping' : `${smallCount} small mappings`,
      bytes: smallBytes,
      cells: small,
    })
  return bands
}

function Cells({
  band,
  report,
  tell,
}: {
  readonly band: Band
  readonly report: AuditReport
  readonly tell: (place: TipPlace | undefined) => void
}) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const columns = Math.max(1, Math.floor((width + GAP) / STEP))
  const rows = Math.ceil(band.cells.length / columns)
  useEffect(() => {
    const box = canvas.current?.parentElement
    if (!box) return
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)))
    watch.observe(box)
    return () => watch.disconnect()
  }, [])
  useEffect(() => {
    const element = canvas.current
    const context = element?.getContext('2d')
    if (!element || !context || width === 0) return
    const draw = (): void => {
      const scale = devicePixelRatio
      element.width = columns * STEP * scale
      element.height = rows * STEP * scale
      context.scale(scale, scale)
      const style = getComputedStyle(document.documentElement)
      // A canvas knows no variables.
      const value = (colour: string): string => style.getPropertyValue(colour.slice(4, -1)).trim()
      const colourOf = (kind: Kind, cell: MapCell): string => {
        const file = kind === 'explained' ? report.files[cell.file] : undefined
        return value(file === undefined ? kindColours[kind] : patternColours[file.pattern])
      }
      for (const [i, cell] of band.cells.entries()) {
        const all = pagesOf(cell) || 1
        let y = Math.floor(i / columns) * STEP
        // Shares, from above: what a cell mostly is, it mostly shows.
        for (const kind of kinds) {
          const part = (cell[kind] / all) * SIZE
          if (part === 0) continue
          context.fillStyle = colourOf(kind, cell)
          context.fillRect((i % columns) * STEP, y, SIZE, part)
          y += part
        }
      }
    }
    draw()
    const theme = matchMedia('(prefers-color-scheme: dark)')
    theme.addEventListener('change', draw)
    const watch = new MutationObserver(draw)
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => {
      theme.removeEventListener('change', draw)
      watch.disconnect()
    }
  }, [band, columns, rows, width, report])
  const say = (event: MouseEvent): void => {
    const index = Math.floor(event.offsetY / STEP) * columns + Math.floor(event.offsetX / STEP)
    const cell = band.cells[index]
    if (cell === undefined) return tell(undefined)
    const all = pagesOf(cell)
    const file = report.files[cell.file]
    tell({
      x: event.clientX,
      y: event.clientY,
      content: (
        <>
          <b>{hex(cell.start)}</b> · {all} {all === 1 ? 'page' : 'pages'}
          {kinds
            .filter(kind => cell[kind] > 0)
            .map(kind => (
              <div key={kind}>
                <i style={{ background: kindColours[kind] }} /> {kindNames[kind]} {cell[kind]}
              </div>
            ))}
          {file === undefined ? null : (
            <div class="soft">
              {baseName(file.path)} ({file.lens})
            </div>
          )}
        </>
      ),
    })
  }
  return (
    <div class="cells">
      <canvas
        ref={canvas}
        style={{ width: `${columns * STEP}px`, height: `${rows * STEP}px` }}
        onMouseMove={say}
        onMouseLeave={() => tell(undefined)}
      />
    </div>
  )
}

export function PageMapCard({ report }: { readonly report: AuditReport }) {
  const [tip, setTip] = useState<TipPlace>()
  const bands = useMemo(() => bandsOf(report), [report])
  const { cellPages } = report.map
  return (
    <section class="card">
      <h2>
        Page map{' '}
        <em>
          in order of address; a square is{' '}
          {cellPages === 1 ? 'one page' : `${cellPages} pages, ${formatBytes(cellPages * PAGE)}`}
        </em>
      </h2>
      <div class="bands">
        {bands.map(band => (
          <div class="band" key={band.name}>
            <div class="name" title={band.name}>
              {band.name}
              <span>{formatBytes(band.bytes)}</span>
            </div>
            <Cells band={band} report={report} tell={setTip} />
          </div>
        ))}
      </div>
      <Tip place={tip} />
    </section>
  )
}
