/** Arrows over a view, between elements that carry `data-key`. They are drawn anew when the way or the layout changes. */
import type { RefObject } from 'preact'
import { useLayoutEffect, useState } from 'preact/hooks'

export interface Arrow {
  readonly from: string
  readonly to: string
  readonly kind: 'lookup' | 'miss' | 'hit' | 'disk'
}

interface Line {
  readonly path: string
  readonly kind: Arrow['kind']
}

export function Arrows({
  arrows,
  over,
}: {
  arrows: readonly Arrow[]
  over: RefObject<HTMLDivElement | null>
}) {
  const [lines, setLines] = useState<readonly Line[]>([])
  const way = JSON.stringify(arrows)
  useLayoutEffect(() => {
    const draw = (): void => {
      const root = over.current
      if (root === null) return
      const origin = root.getBoundingClientRect()
      setLines(
        arrows.flatMap(({ from, to, kind }) => {
          const a = root.querySelector(`[data-key="${from}"]`)?.getBoundingClientRect()
          const b = root.querySelector(`[data-key="${to}"]`)?.getBoundingClientRect()
          return a === undefined || b === undefined ? [] : [{ path: curve(a, b, origin), kind }]
        }),
      )
    }
    draw()
    const observer = new ResizeObserver(draw)
    if (over.current !== null) observer.observe(over.current)
    return () => observer.disconnect()
  }, [way])
  return (
    <svg class="arrows" aria-hidden="true">
      <defs>
        {(['lookup', 'miss', 'hit', 'disk'] as const).map(kind => (
          <marker
            key={kind}
            id={`head-${kind}`}
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="7"
            markerHeight="7"
            orient="auto"
          >
            <path d="M0 0L8 4L0 8z" class={kind} />
          </marker>
        ))}
      </defs>
      {lines.map(({ path, kind }, i) => (
        <path key={i} d={path} class={kind} marker-end={`url(#head-${kind})`} style={{ '--i': i }} />
      ))}
    </svg>
  )
}

/** From the side of one box that looks at the other, to the side that looks back. */
function curve(a: DOMRect, b: DOMRect, origin: DOMRect): string {
  const across = b.left >= a.right - 4 ? 1 : b.right <= a.left + 4 ? -1 : 0
  if (across !== 0) {
    const x1 = (across > 0 ? a.right : a.left) - origin.left
    const x2 = (across > 0 ? b.left : b.right) - origin.left
    const y1 = a.top + a.height / 2 - origin.top
    const y2 = b.top + b.height / 2 - origin.top
    const bend = Math.max(24, Math.abs(x2 - x1) / 2) * across
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
  }
  const down = b.top >= a.bottom ? 1 : -1
  const x1 = a.left + Math.min(a.width / 2, 40) - origin.left
  const x2 = b.left + Math.min(b.width / 2, 40) - origin.left
  const y1 = (down > 0 ? a.bottom : a.top) - origin.top
  const y2 = (down > 0 ? b.top : b.bottom) - origin.top
  const bend = Math.max(16, Math.abs(y2 - y1) / 2) * down
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`
}
