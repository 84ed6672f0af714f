/**
 * Blocks where they lie: rows of 512 bytes, with the borders of cache lines (64 bytes) and of pages (4096). A block that goes over a row's
 * end goes on in the next. The free list's links and the search are arcs over the rows.
 */
import type { BlockShot, HeapShot } from './film.ts'

const ROW = 512
const SCALE = 1.56
const HEIGHT = 40
const GAP = 14
const LEFT = 52
const WIDTH = LEFT + ROW * SCALE + 4

interface Part {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly kind: string
}

export function BlockMap({ shot, tag, begin }: { shot: HeapShot; tag: number; begin: number }) {
  const end = shot.blocks.reduce((most, block) => Math.max(most, block.at - block.header + block.size), begin)
  const rows = Math.max(1, Math.ceil((end - begin) / ROW))
  const y = (row: number): number => 14 + row * (HEIGHT + GAP)
  const cut = (from: number, to: number, kind: string): Part[] => {
    const parts: Part[] = []
    for (let at = from - begin; at < to - begin; ) {
      const row = Math.floor(at / ROW)
      const stop = Math.min(to - begin, (row + 1) * ROW)
      parts.push({ x: LEFT + (at - row * ROW) * SCALE, y: y(row), width: (stop - at) * SCALE, kind })
      at = stop
    }
    return parts
  }
  const seen = new Set(shot.path)
  const middle = (at: number): [number, number] => {
    const place = at - begin
    const row = Math.floor(place / ROW)
    return [LEFT + (place - row * ROW) * SCALE + 3, y(row)]
  }
  const list = new Set(shot.list)
  return (
    <svg
      class="blocks"
      viewBox={`0 0 ${WIDTH} ${y(rows)}`}
      role="img"
      aria-label={`${shot.blocks.length} blocks`}
    >
      <defs>
        <marker id="link" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">
          <path d="M0 0L8 4L0 8z" />
        </marker>
      </defs>
      {Array.from({ length: rows }, (_, row) => (
        <g key={row}>
          <text x={LEFT - 8} y={y(row) + HEIGHT / 2 + 4} class="address">
            +{row * ROW}
          </text>
          {Array.from({ length: 9 }, (_line, i) => (
            <line
              key={i}
              class={row % 8 === 0 && i === 0 ? 'page' : 'cache-line'}
              x1={LEFT + i * 64 * SCALE}
              x2={LEFT + i * 64 * SCALE}
              y1={y(row) - 4}
              y2={y(row) + HEIGHT + 4}
            />
          ))}
        </g>
      ))}
      {shot.blocks.map(block => (
        <g
          key={block.at}
          class={`block ${block.at === shot.pointer ? 'now' : ''} ${seen.has(block.at) ? 'seen' : ''}`}
        >
          {parts(block, tag, cut).map((part, i) => (
            <rect key={i} class={part.kind} x={part.x} y={part.y} width={part.width} height={HEIGHT} />
          ))}
          {cut(block.at - block.header, block.at - block.header + block.size, 'outline').map((part, i) => (
            <g key={i}>
              <rect
                class="outline"
                x={part.x + 0.5}
                y={part.y}
                width={Math.max(1, part.width - 1)}
                height={HEIGHT}
                rx="3"
              />
              {i === 0 && part.width > 26 && (
                <text x={part.x + part.width / 2} y={part.y + HEIGHT / 2 + 4}>
                  {block.allocated ? block.id : block.size}
                </text>
              )}
            </g>
          ))}
        </g>
      ))}
      {[...list].slice(1).map((at, i) => {
        const [x1, y1] = middle(shot.list[i] as number)
        const [x2, y2] = middle(at)
        const lift = y1 === y2 ? y1 - 12 : Math.min(y1, y2) - 6
        return (
          <path
            key={at}
            class="link"
            marker-end="url(#link)"
            d={`M${x1} ${y1}C${x1} ${lift} ${x2} ${lift} ${x2} ${y2}`}
          />
        )
      })}
    </svg>
  )
}

/** Header, payload, padding and footer of a block. */
function parts(
  { at, size, allocated, asked, header }: BlockShot,
  tag: number,
  cut: (from: number, to: number, kind: string) => Part[],
): Part[] {
  const begin = at - header
  const end = begin + size
  if (!allocated) return [...cut(begin, at, 'tag'), ...cut(at, end, 'hole')]
  const footer = tag === 8 ? 4 : 0
  return [
    ...cut(begin, at, 'tag'),
    ...cut(at, at + asked, 'payload'),
    ...cut(at + asked, end - footer, 'padding'),
    ...cut(end - footer, end, 'tag'),
  ]
}
