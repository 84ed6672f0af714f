/**
 * A trace on a heap as a picture: above, payload P_k against heap size H_k; below, the heap's map, time to the right and addresses up:
 * allocated blocks dark, free ones light, what is not heap yet white.
 */
import { crc32, deflateSync } from 'node:zlib'
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

// Three by five pixels a letter, from the top row, most significant bit left; drawn twice as large.
const glyphs: Readonly<Record<string, string>> = Object.fromEntries(
  '0 755557 1 262227 2 717471 3 717117 4 755711 5 747117 6 747557 7 711222 8 757557 9 757117 A 257755 B 656556 C 344443 D 655556 E 746447 F 746444 G 345553 H 557555 I 722227 J 111152 K 556555 L 444447 M 577555 N 755555 O 755557 P 757444 Q 755571 R 757655 S 347116 T 722222 U 555557 V 555552 W 555775 X 552255 Y 557222 Z 712447 % 512455 . 000002 : 020200 / 112244 - 000700 = 070700'
    .split(' ')
    .reduce<[string, string][]>((pairs, word, i, all) => {
      if (i % 2 === 0) pairs.push([word, all[i + 1] as string])
      return pairs
    }, []),
)

class Canvas {
  readonly width: number
  readonly height: number
  readonly #pixels: Uint8Array
  constructor(width: number, height: number) {
    this.width = width
    this.height = height
    this.#pixels = new Uint8Array(height * (1 + width * 3)).fill(255)
    for (let y = 0; y < height; y++) this.#pixels[y * (1 + width * 3)] = 0
  }
  set(x: number, y: number, colour: number): void {
    const at = y * (1 + this.width * 3) + 1 + x * 3
    this.#pixels[at] = colour >> 16
    this.#pixels[at + 1] = (colour >> 8) & 255
    this.#pixels[at + 2] = colour & 255
  }
  /** `y` is the base line. */
  text(x: number, y: number, text: string, colour: number): void {
    ;[...text.toUpperCase()].forEach((letter, i) => {
      const rows = glyphs[letter]
      if (rows === undefined) return
      for (let row = 0; row < rows.length; row++)
        for (let column = 0; column < 3; column++)
          if (((Number(rows[row]) >> (2 - column)) & 1) === 1)
            for (const [dx, dy] of [
              [0, 0],
              [1, 0],
              [0, 1],
              [1, 1],
            ] as const)
              this.set(x + i * 8 + column * 2 + dx, y - 12 + row * 2 + dy, colour)
    })
  }
  png(): Buffer {
    const chunk = (type: string, data: Uint8Array): Buffer => {
      const out = Buffer.alloc(12 + data.length)
      out.writeUInt32BE(data.length)
      out.write(type, 4, 'latin1')
      out.set(data, 8)
      out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length)
      return out
    }
    const head = Buffer.alloc(13)
    head.writeUInt32BE(this.width)
    head.writeUInt32BE(this.height, 4)
    head.set([8, 2, 0, 0, 0], 8)
    return Buffer.concat([
      Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
      chunk('IHDR', head),
      chunk('IDAT', deflateSync(this.#pixels)),
      chunk('IEND', new Uint8Array(0)),
    ])
  }
}
