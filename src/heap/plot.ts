/**
 * A trace on a heap as a picture: above, payload P_k against heap size H_k; below, the heap's map, time to the right and addresses up:
 * allocated blocks dark, free ones light, what is not heap yet white.
 */
import { Canvas } from '../plot/canvas.ts'
import type { Heap } from './heap.ts'
import { STATE } from './memory.ts'
import { replay } from './replay.ts'
import type { Trace } from './trace.ts'

/** What a picture shows, from one run. */
export interface Film {
  readonly title: string
  readonly operations: number
  /** Largest heap size, in bytes. */
  readonly heapSize: number
  readonly utilisation: number
  /** For each column the last P_k and H_k of its operations. */
  readonly payload: Float64Array
  readonly heap: Float64Array
  /** Columns × rows: 0 outside, 1 free, 2 allocated, rows upwards. */
  readonly map: Uint8Array
}

const COLUMNS = 800
const ROWS = 300
const CURVE = 200
const LEFT = 70
const TOP = 30
const GAP = 40
const WIDTH: number = LEFT + COLUMNS + 20
const HEIGHT: number = TOP + CURVE + GAP + ROWS + 30

/** Runs a trace and looks at the heap once for each column. */
export function film(trace: Trace, heap: Heap): Film {
  const payload = new Float64Array(COLUMNS)
  const sizes = new Float64Array(COLUMNS)
  const maps: [at: number, size: number][][] = []
  let column = 0
  const result = replay(trace, heap, {
    curve: true,
    each(k) {
      if (((k + 1) * COLUMNS) / trace.length < column + 1 && k + 1 < trace.length) return
      const used: [number, number][] = []
      for (const block of heap.blocks()) if (block.allocated) used.push([block.at, block.size])
      while (column < COLUMNS && ((k + 1) * COLUMNS) / trace.length >= column + 1) {
        maps[column] = used
        sizes[column] = heap.size
        column++
      }
    },
  })
  for (let i = 0; i < COLUMNS; i++)
    payload[i] =
      result.payload?.[Math.min(trace.length - 1, Math.ceil(((i + 1) * trace.length) / COLUMNS) - 1)] ?? 0
  const map = new Uint8Array(COLUMNS * ROWS)
  const from = heap.memory.base + STATE
  for (let x = 0; x < COLUMNS; x++) {
    for (let y = 0; y < ROWS; y++)
      if ((y + 0.5) * result.heapSize < (sizes[x] as number) * ROWS) map[x * ROWS + y] = 1
    for (const [at, size] of maps[x] ?? []) {
      const low = Math.floor(((at - from) / result.heapSize) * ROWS)
      const high = Math.max(low + 1, Math.round(((at - from + size) / result.heapSize) * ROWS))
      map.fill(2, x * ROWS + low, x * ROWS + Math.min(high, ROWS))
    }
  }
  return {
    title: `${heap.name}: utilisation ${(100 * result.utilisation).toFixed(1)} %`,
    operations: trace.length,
    heapSize: result.heapSize,
    utilisation: result.utilisation,
    payload,
    heap: sizes,
    map,
  }
}

const colours = { ink: 0x222222, payload: 0x1f6f4a, heap: 0xb03a2e, free: 0xf3c9a5, used: 0x35618f } as const

/** The map alone, as a PNG. */
function mapPng({ map }: Film): Buffer {
  const canvas = new Canvas(COLUMNS, ROWS)
  paintMap(canvas, map, 0, 0)
  return canvas.png()
}

function paintMap(canvas: Canvas, map: Uint8Array, left: number, top: number): void {
  for (let x = 0; x < COLUMNS; x++)
    for (let y = 0; y < ROWS; y++) {
      const state = map[x * ROWS + y]
      if (state !== 0) canvas.set(left + x, top + ROWS - 1 - y, state === 2 ? colours.used : colours.free)
    }
}

const size = (bytes: number): string =>
  bytes >= 1 << 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 1024).toFixed(0)} KiB`

function labels(shot: Film): [x: number, y: number, text: string, colour: number][] {
  const below = TOP + CURVE + GAP + ROWS + 16
  return [
    [LEFT, 18, shot.title, colours.ink],
    [4, TOP + 8, size(shot.heapSize), colours.ink],
    [4, TOP + CURVE, '0', colours.ink],
    [LEFT + 8, TOP + CURVE + 18, 'heap size', colours.heap],
    [LEFT + 110, TOP + CURVE + 18, 'payload', colours.payload],
    [LEFT + 200, TOP + CURVE + 18, 'allocated', colours.used],
    [LEFT + 300, TOP + CURVE + 18, 'free', colours.free],
    [4, TOP + CURVE + GAP + 8, size(shot.heapSize), colours.ink],
    [LEFT, below, 'operation 0', colours.ink],
    [LEFT + COLUMNS - 80, below, String(shot.operations), colours.ink],
  ]
}

const heightOf = (shot: Film, bytes: number): number =>
  TOP + CURVE - Math.round((bytes / Math.max(shot.heapSize, 1)) * CURVE)

/** As SVG, with the map as an embedded PNG. */
export function svg(shot: Film): string {
  const hex = (colour: number): string => `#${colour.toString(16).padStart(6, '0')}`
  const line = (values: Float64Array, colour: number): string =>
    `<polyline fill="none" stroke="${hex(colour)}" stroke-width="1.5" points="${[...values].map((v, i) => `${LEFT + i},${heightOf(shot, v)}`).join(' ')}"/>`
  const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
${line(shot.heap, colours.heap)}
${line(shot.payload, colours.payload)}
<image x="${LEFT}" y="${TOP + CURVE + GAP}" width="${COLUMNS}" height="${ROWS}" href="data:image/png;base64,${mapPng(shot).toString('base64')}"/>
${labels(shot)
  .map(([x, y, text, colour]) => `<text x="${x}" y="${y}" fill="${hex(colour)}">${escape(text)}</text>`)
  .join('\n')}
</svg>
`
}

/** As PNG. */
export function png(shot: Film): Buffer {
  const canvas = new Canvas(WIDTH, HEIGHT)
  for (const [values, colour] of [
    [shot.heap, colours.heap],
    [shot.payload, colours.payload],
  ] as const)
    for (let i = 0; i < COLUMNS; i++) {
      const y = heightOf(shot, values[i] as number)
      const before = i === 0 ? y : heightOf(shot, values[i - 1] as number)
      for (let v = Math.min(y, before); v <= Math.max(y, before); v++) canvas.set(LEFT + i, v, colour)
    }
  paintMap(canvas, shot.map, LEFT, TOP + CURVE + GAP)
  for (const [x, y, text, colour] of labels(shot)) canvas.text(x, y, text, colour)
  return canvas.png()
}
