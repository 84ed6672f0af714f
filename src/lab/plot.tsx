/** A plot by uPlot that follows the width of its place and the theme's colours. */
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'

export interface Series {
  readonly name: string
  readonly values: readonly number[]
  /** A CSS custom property's name, such as --c1. */
  readonly colour: string
  readonly strong?: boolean
}

export function Plot({
  x,
  series,
  xLabel,
  percent = false,
  height = 260,
  at,
}: {
  x: readonly number[]
  series: readonly Series[]
  xLabel: string
  percent?: boolean
  height?: number
  /** A mark on the horizontal axis. */
  at?: number
}) {
  const place = useRef<HTMLDivElement>(null)
  const mark = useRef(at)
  mark.current = at
  const plot = useRef<UPlot>(undefined)
  // Before the first commit of a new plot there is nothing to draw again.
  const drawn = useRef(at)
  useEffect(() => {
    const root = place.current
    if (root === null) return undefined
    const build = (): void => {
      plot.current?.destroy()
      const css = getComputedStyle(root)
      const colour = (name: string): string => css.getPropertyValue(name).trim()
      const axis = {
        stroke: colour('--soft'),
        grid: { stroke: colour('--line'), width: 1 },
        ticks: { show: false },
        font: '12px system-ui',
      }
      plot.current = new UPlot(
        {
          width: Math.max(200, root.clientWidth),
          height,
          legend: { show: true, live: true },
          cursor: { y: false, points: { size: 6 } },
          scales: {
            x: { time: false },
            y: { range: (_self, _low, high) => [0, high <= 0 ? 1 : high * 1.04] },
          },
          axes: [
            {
              ...axis,
              incrs: [0, 1, 2, 3, 4, 5].flatMap(power => [1, 2, 5].map(one => one * 10 ** power)),
              label: xLabel,
              labelFont: '12px system-ui',
              labelSize: 22,
              size: 34,
            },
            {
              ...axis,
              size: 52,
              values: (_self, ticks) => ticks.map(v => (percent ? `${Math.round(v * 100)} %` : short(v))),
            },
          ],
          series: [
            { label: xLabel },
            ...series.map(one => ({
              label: one.name,
              stroke: colour(one.colour),
              width: one.strong === true ? 2.5 : 1.25,
              points: { show: false },
              value: (_self: UPlot, v: number | null) =>
                v === null ? '–' : percent ? `${(v * 100).toFixed(1)} %` : short(v),
            })),
          ],
          hooks: {
            draw: [
              self => {
                if (mark.current === undefined) return
                const left = self.valToPos(mark.current, 'x', true)
                self.ctx.save()
                self.ctx.strokeStyle = colour('--accent')
                self.ctx.lineWidth = devicePixelRatio
                self.ctx.setLineDash([4, 4])
                self.ctx.beginPath()
                self.ctx.moveTo(left, self.bbox.top)
                self.ctx.lineTo(left, self.bbox.top + self.bbox.height)
                self.ctx.stroke()
                self.ctx.restore()
              },
            ],
          },
        },
        [[...x], ...series.map(one => [...one.values])],
        root,
      )
    }
    build()
    const resize = new ResizeObserver(() =>
      plot.current?.setSize({ width: Math.max(200, root.clientWidth), height }),
    )
    resize.observe(root)
    const theme = new MutationObserver(build)
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => {
      resize.disconnect()
      theme.disconnect()
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [JSON.stringify(series.map(({ name, strong }) => [name, strong])), x, series, percent])
  useEffect(() => {
    if (drawn.current !== at) plot.current?.redraw(false)
    drawn.current = at
  }, [at])
  return <div class="plot" ref={place} />
}

const short = (v: number): string =>
  v >= 1 << 20
    ? `${(v / (1 << 20)).toFixed(1)} Mi`
    : v >= 4096
      ? `${Math.round(v / 1024)} Ki`
      : String(Math.round(v * 100) / 100)
