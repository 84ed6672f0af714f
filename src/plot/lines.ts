/** A chart of lines over a common horizontal axis, as SVG or PNG. */
import { Canvas } from './canvas.ts'

export interface LineChart {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly x: readonly number[]
  readonly lines: readonly { readonly name: string; readonly y: readonly number[]; readonly bold?: boolean }[]
}

const WIDTH = 960
const HEIGHT = 540
const LEFT = 70
const RIGHT = 150
const TOP = 44
const BOTTOM = 56
const ink = 0x222222
const grid = 0xe4e4e4
// Told apart by people with any colour vision (after Okabe and Ito), then darker ones.
const palette = [
  0x0072b2, 0xe69f00, 0x009e73, 0xcc79a7, 0xd55e00, 0x56b4e9, 0x8a7a00, 0x7a4fa3, 0x4d4d4d, 0x9c2f2f,
  0x2f6f6f, 0x5b8c2a, 0xa05a2c, 0x3a4fb0,
]

function scale(chart: LineChart): { x(value: number): number; y(value: number): number; top: number } {
  const low = Math.min(...chart.x)
  const high = Math.max(...chart.x, low + 1)
  const largest = Math.max(...chart.lines.flatMap(line => line.y), 0)
  const step = 10 ** Math.floor(Math.log10(largest || 1))
  const top = Math.ceil((largest || 1) / step) * step
  return {
    x: value => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - RIGHT),
    y: value => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM),
    top,
  }
}

const short = (value: number): string =>
  value >= 10_000 ? `${Math.round(value / 1000)}k` : String(Math.round(value * 1000) / 1000)

function ticks(chart: LineChart): number[] {
  const low = Math.min(...chart.x)
  const high = Math.max(...chart.x, low + 1)
  return Array.from({ length: 6 }, (_, i) => Math.round(low + ((high - low) * i) / 5))
}

/** As SVG. */
export function linesSvg(chart: LineChart): string {
  const { x, y, top } = scale(chart)
  const hex = (colour: number): string => `#${colour.toString(16).padStart(6, '0')}`
  const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const text = (at: number, down: number, words: string, more = ''): string =>
    `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" ${more}>${escape(words)}</text>`
  const rows = Array.from({ length: 6 }, (_, i) => (top * i) / 5)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12" fill="${hex(ink)}">
<rect width="100%" height="100%" fill="#fff"/>
${text(LEFT, 24, chart.title, 'font-size="15"')}
${rows.map(v => `<path d="M${LEFT} ${y(v).toFixed(1)}H${WIDTH - RIGHT}" stroke="${hex(grid)}"/>${text(LEFT - 8, y(v) + 4, short(v), 'text-anchor="end"')}`).join('\n')}
${ticks(chart)
  .map(v => text(x(v), HEIGHT - BOTTOM + 18, short(v), 'text-anchor="middle"'))
  .join('\n')}
${text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, chart.xLabel, 'text-anchor="middle"')}
${text(16, (TOP + HEIGHT - BOTTOM) / 2, chart.yLabel, `text-anchor="middle" transform="rotate(-90 16 ${(TOP + HEIGHT - BOTTOM) / 2})"`)}
${chart.lines
  .map((line, i) => {
    const colour = line.bold === true ? hex(ink) : hex(palette[i % palette.length] as number)
    const points = chart.x.map((v, k) => `${x(v).toFixed(1)},${y(line.y[k] as number).toFixed(1)}`).join(' ')
    const down = TOP + 10 + i * 18
    return `<polyline fill="none" stroke="${colour}" stroke-width="${line.bold === true ? 2.5 : 1.5}" points="${points}"/><path d="M${WIDTH - RIGHT + 16} ${down - 4}h18" stroke="${colour}" stroke-width="2.5"/>${text(WIDTH - RIGHT + 40, down, line.name)}`
  })
  .join('\n')}
</svg>
`
}

/** As PNG. */
export function linesPng(chart: LineChart): Buffer {
  const { x, y, top } = scale(chart)
  const canvas = new Canvas(WIDTH, HEIGHT)
  canvas.text(LEFT, 24, chart.title, ink)
  for (let i = 0; i < 6; i++) {
    const down = Math.round(y((top * i) / 5))
    canvas.line(LEFT, down, WIDTH - RIGHT, down, grid)
    const label = short((top * i) / 5)
    canvas.text(LEFT - 8 - label.length * 8, down + 6, label, ink)
  }
  for (const v of ticks(chart)) {
    const label = short(v)
    canvas.text(Math.round(x(v)) - label.length * 4, HEIGHT - BOTTOM + 18, label, ink)
  }
  canvas.text(
    Math.round((LEFT + WIDTH - RIGHT) / 2) - chart.xLabel.length * 4,
    HEIGHT - 10,
    chart.xLabel,
    ink,
  )
  canvas.text(4, TOP - 6, chart.yLabel, ink)
  chart.lines.forEach((line, i) => {
    const colour = line.bold === true ? ink : (palette[i % palette.length] as number)
    for (let k = 1; k < chart.x.length; k++)
      for (const thick of line.bold === true ? [0, 1, 2] : [0, 1])
        canvas.line(
          x(chart.x[k - 1] as number),
          y(line.y[k - 1] as number) + thick,
          x(chart.x[k] as number),
          y(line.y[k] as number) + thick,
          colour,
        )
    const down = TOP + 10 + i * 18
    for (const thick of [0, 1, 2])
      canvas.line(WIDTH - RIGHT + 16, down - 5 + thick, WIDTH - RIGHT + 34, down - 5 + thick, colour)
    canvas.text(WIDTH - RIGHT + 42, down + 1, line.name, ink)
  })
  return canvas.png()
}
