/** Mark and sweep on a graph of objects: what the roots reach is marked, one object after the other; then what is not is freed. */
import { useMemo } from 'preact/hooks'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { collect, type GraphFilm, type GraphShot, graphs } from './graphs.ts'

export function CollectorView({ place, go }: ViewProps) {
  const choice = graphs.find(({ id }) => id === place.values['graph']) ?? graphs[0]
  const film = useMemo(() => (choice === undefined ? undefined : collect(choice)), [choice])
  if (choice === undefined || film === undefined) return null
  const last = film.shots.length - 1
  const step = numberIn(place, 'step', 0, last)
  const shot = film.shots[step] as GraphShot
  const words = {
    before: 'Before the collection. Nobody knows yet what is garbage.',
    mark: `Mark: ${[...shot.fresh].join(', ')} reached.`,
    sweep: `Sweep: ${[...shot.fresh].join(', ')} had no mark and ${shot.fresh.size === 1 ? 'is' : 'are'} freed.`,
    done: 'Done: what is left is what the roots reach.',
  }[shot.phase]
  return (
    <>
      <div class="picker">
        <div class="choices" role="tablist">
          {graphs.map(one => (
            <button
              type="button"
              role="tab"
              key={one.id}
              aria-selected={one === choice}
              onClick={() => go({ graph: one.id, step: '' })}
            >
              {one.name}
            </button>
          ))}
        </div>
      </div>
      <p class="say">{choice.say}</p>
      <Player
        kinds={film.shots
          .slice(1)
          .map(({ phase }) => (phase === 'mark' ? 'hit' : phase === 'sweep' ? 'free-op' : 'act'))}
        step={step}
        onStep={to => go({ step: to })}
      />
      <div class="stage collector">
        <section class="column">
          <div class="card">
            <h2>
              Memory graph <em>{words}</em>
            </h2>
            <Graph film={film} shot={shot} />
            <p class="key">
              <i class="root" /> root <i class="unknown" /> not marked <i class="marked" /> marked{' '}
              <i class="freed" /> freed
            </p>
          </div>
        </section>
        <section class="column narrow">
          <dl class="card sums">
            <dt>Objects</dt>
            <dd>{shot.alive.size}</dd>
            <dt>Marked</dt>
            <dd>{shot.marked.size}</dd>
            <dt>Freed</dt>
            <dd>{film.graph.nodes.length - shot.alive.size}</dd>
          </dl>
          <div class="card">
            <h2>
              Heap <em>objects in order of address</em>
            </h2>
            <div class="objects">
              {film.graph.nodes.map(({ at }) => {
                const name = film.names.get(at) ?? ''
                return (
                  <div key={at} class={`cell ${stateOf(name, shot)}`}>
                    {name}
                  </div>
                )
              })}
            </div>
          </div>
        </section>
      </div>
    </>
  )
}

const stateOf = (name: string, shot: GraphShot): string =>
  `${shot.alive.has(name) ? (shot.marked.has(name) ? 'marked' : 'unknown') : 'freed'} ${shot.fresh.has(name) ? 'fresh' : ''}`

function Graph({ film: { graph, names }, shot }: { film: GraphFilm; shot: GraphShot }) {
  const places = useMemo(() => layout(graph.roots, graph.nodes, graph.edges), [graph])
  const height = Math.max(...[...places.values()].map(({ y }) => y)) + 50
  const width = Math.max(...[...places.values()].map(({ x }) => x)) + 60
  return (
    <svg
      class="graph"
      viewBox={`0 0 ${width} ${height}`}
      style={{ maxHeight: '68vh' }}
      role="img"
      aria-label={`${graph.nodes.length} objects`}
    >
      <defs>
        <marker
          id="points"
          viewBox="0 0 8 8"
          refX="7"
          refY="4"
          markerWidth="8"
          markerHeight="8"
          orient="auto"
        >
          <path d="M0 0L8 4L0 8z" />
        </marker>
      </defs>
      {graph.roots.map((to, i) => {
        const target = places.get(to)
        if (target === undefined) return null
        return (
          <g key={i} class="root">
            <rect x="14" y={target.y - 15} width="56" height="30" rx="6" />
            <text x="42" y={target.y + 5}>
              root
            </text>
            <path marker-end="url(#points)" d={edge({ x: 46, y: target.y }, target, 24)} />
          </g>
        )
      })}
      {graph.edges.map(({ from, to, distance }) => {
        const a = places.get(from)
        const b = places.get(to)
        if (a === undefined || b === undefined) return null
        const gone = !shot.alive.has(names.get(from) ?? '')
        const marked = shot.marked.has(names.get(from) ?? '')
        return (
          <path
            key={`${from}-${distance}`}
            class={`pointer ${gone ? 'gone' : marked ? 'followed' : ''}`}
            marker-end="url(#points)"
            d={edge(a, b, 24)}
          />
        )
      })}
      {graph.nodes.map(({ at }) => {
        const place = places.get(at)
        const name = names.get(at) ?? ''
        if (place === undefined) return null
        return (
          <g key={at} class={`object ${stateOf(name, shot)}`}>
            <circle cx={place.x} cy={place.y} r="22" />
            <text x={place.x} y={place.y + 5}>
              {name}
            </text>
          </g>
        )
      })}
    </svg>
  )
}

interface Point {
  readonly x: number
  readonly y: number
}

/** From the rim of one circle to the rim of the other, a little bent so that two ways between the same objects stay apart. */
function edge(a: Point, b: Point, r: number): string {
  const dx = b.x - a.x
  const dy = b.y - a.y
  const length = Math.hypot(dx, dy) || 1
  const [ux, uy] = [dx / length, dy / length]
  const bend = Math.min(26, length / 6)
  const [mx, my] = [(a.x + b.x) / 2 - uy * bend, (a.y + b.y) / 2 + ux * bend]
  return `M${a.x + ux * r} ${a.y + uy * r}Q${mx} ${my} ${b.x - ux * (r + 2)} ${b.y - uy * (r + 2)}`
}

/** Columns by distance from the roots; what no root reaches has rows of its own below. */
function layout(
  roots: readonly number[],
  nodes: readonly { at: number; reachable: boolean }[],
  edges: readonly { from: number; to: number }[],
): Map<number, Point> {
  const depth = new Map<number, number>()
  const walk = (from: readonly number[], only: boolean): void => {
    let front = from.filter(at => !depth.has(at))
    for (const at of front) depth.set(at, 0)
    for (let level = 1; front.length > 0; level++) {
      const next = edges.filter(({ from: a, to }) => front.includes(a) && !depth.has(to)).map(({ to }) => to)
      front = [...new Set(next)].filter(at => nodes.find(node => node.at === at)?.reachable === only)
      for (const at of front) depth.set(at, level)
    }
  }
  walk(roots, true)
  const places = new Map<number, Point>()
  const put = (members: readonly number[], top: number): number => {
    const columns = new Map<number, number>()
    let bottom = top
    for (const at of members) {
      const column = depth.get(at) ?? 0
      const row = columns.get(column) ?? 0
      columns.set(column, row + 1)
      const y = top + row * 84 + (column % 2) * 30
      places.set(at, { x: 140 + column * 150, y })
      bottom = Math.max(bottom, y)
    }
    return bottom
  }
  const reached = nodes.filter(node => node.reachable).map(({ at }) => at)
  const bottom = put(reached, 50)
  const lost = nodes.filter(node => !node.reachable).map(({ at }) => at)
  for (const at of lost) {
    const pointed = edges.some(({ from, to }) => to === at && lost.includes(from))
    if (!pointed) walk([at], false)
  }
  for (const at of lost) walk([at], false)
  put(lost, bottom + 96)
  return places
}
