/** A clock's ring of pages, with its hands. CLOCK's marks are reference bits; CLOCK-Pro's say hot, cold or gone as well. */
import type { Queue } from '../../policy/index.ts'

export function Ring({ queue, page }: { queue: Queue; page: number | undefined }) {
  const { pages, marks = [], hands = {} } = queue
  const pro = Object.keys(hands).length > 1 || !('hand' in hands)
  const count = Math.max(1, pages.length)
  const radius = 74
  const size = Math.min(34, Math.max(18, (2 * Math.PI * radius) / count - 6))
  const place = (i: number, r: number): [number, number] => {
    const angle = (2 * Math.PI * i) / count - Math.PI / 2
    return [110 + r * Math.cos(angle), 106 + r * Math.sin(angle)]
  }
  return (
    <svg class="ring" viewBox="0 0 220 212" role="img" aria-label={`${count} pages in a ring`}>
      <circle cx="110" cy="106" r={radius} class="track" />
      {Object.entries(hands).map(([name, at]) => {
        const [x, y] = place(at, radius - size / 2 - 6)
        const [nameX, nameY] = place(at, radius - size / 2 - 22)
        return (
          <g key={name} class="pointer">
            <line x1="110" y1="106" x2={x} y2={y} />
            {pro && (
              <text x={nameX} y={nameY}>
                {name}
              </text>
            )}
          </g>
        )
      })}
      <circle cx="110" cy="106" r="3" class="axle" />
      {pages.map((one, i) => {
        const [x, y] = place(i, radius)
        const bits = marks[i] ?? 0
        const referenced = bits % 2 === 1
        const kind = pro ? (bits >= 4 ? 'hot' : bits >= 2 ? 'cold' : 'ghost') : ''
        const [bitX, bitY] = place(i, radius + size / 2 + 8)
        return (
          <g key={`${i}-${one}`} class={`seat ${kind} ${one === page ? 'now' : ''}`}>
            <rect x={x - size / 2} y={y - size / 2} width={size} height={size} rx="6" />
            <text x={x} y={y + 4}>
              {one < 0 ? '' : one}
            </text>
            <circle cx={bitX} cy={bitY} r="3.5" class={referenced ? 'bit set' : 'bit'} />
          </g>
        )
      })}
    </svg>
  )
}
