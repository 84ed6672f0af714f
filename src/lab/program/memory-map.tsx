/** Memory from its first byte to its last, in rows, coloured by an answer: what makes this, or whose it is. */
import { useMemo, useState } from 'preact/hooks'
import { hex, type MemoryMap, size, type Stretch } from './document.ts'

const ROWS = 24
const WIDTH = 1000
const HEIGHT = 15
const GAP = 5
const LEFT = 92
/** A row has at least so many bytes. */
const LEAST = 1 << 16

interface Part {
  readonly stretch: Stretch
  readonly x: number
  readonly y: number
  readonly width: number
}

/** Bytes of a row, a power of two, so that `end` bytes fit into ROWS rows. */
export function rowBytes(end: number): number {
  let bytes = LEAST
  while (bytes * ROWS < end) bytes *= 2
  return bytes
}

export function MemoryMapView({ map: { title, stretches, legend } }: { map: MemoryMap }) {
  const [over, setOver] = useState<Stretch>()
  const end = stretches.reduce((most, { to }) => Math.max(most, to), 0)
  const row = rowBytes(end)
  const parts = useMemo(() => stretches.flatMap(stretch => cut(stretch, row)), [stretches, row])
  const rows = Math.max(1, Math.ceil(end / row))
  const sum = (kind: string): number =>
    stretches.reduce((all, one) => all + (one.kind === kind ? one.to - one.from : 0), 0)
  return (
    <div class="card">
      <h2>
        {title} <em>{size(end)} of memory</em>
      </h2>
      <svg
        class="memory"
        viewBox={`0 0 ${LEFT + WIDTH} ${rows * (HEIGHT + GAP)}`}
        role="img"
        aria-label={title}
        onMouseLeave={() => setOver(undefined)}
      >
        {Array.from({ length: rows }, (_, i) => (
          <g key={i}>
            <text class="address" x={LEFT - 8} y={i * (HEIGHT + GAP) + HEIGHT - 3}>
              {hex(i * row)}
            </text>
            <rect class="track" x={LEFT} y={i * (HEIGHT + GAP)} width={WIDTH} height={HEIGHT} />
          </g>
        ))}
        {parts.map(({ stretch, x, y, width }, i) => (
          <rect
            key={i}
            class={`stretch ${stretch.kind} ${stretch === over ? 'now' : ''}`}
            x={x}
            y={y}
            width={width}
            height={HEIGHT}
            onMouseEnter={() => setOver(stretch)}
          />
        ))}
      </svg>
      <p class="key">
        {legend.map(({ kind, name }) => (
          <span key={kind}>
            <i class={`stretch ${kind}`} /> {name} {size(sum(kind))}
          </span>
        ))}
      </p>
      <p class="told" aria-live="polite">
        {over === undefined
          ? 'Point at memory to see why it is what it is.'
          : [
              `${hex(over.from)}–${hex(over.to)} (${size(over.to - over.from)}): ${over.why}`,
              ...over.detail,
            ].join('\n')}
      </p>
    </div>
  )
}

function cut(stretch: Stretch, row: number): Part[] {
  const parts: Part[] = []
  for (let at = stretch.from; at < stretch.to; ) {
    const line = Math.floor(at / row)
    const stop = Math.min(stretch.to, (line + 1) * row)
    const x = LEFT + ((at - line * row) / row) * WIDTH
    parts.push({ stretch, x, y: line * (HEIGHT + GAP), width: ((stop - at) / row) * WIDTH })
    at = stop
  }
  return parts
}
