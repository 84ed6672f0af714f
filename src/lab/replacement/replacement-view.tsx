/** Replacement policies side by side on one trace: each with its own queues, and the miss curves of all. */
import { useMemo, useState } from 'preact/hooks'
import { isPolicyName, policyNames, type Queue } from '../../policy/index.ts'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { Plot } from '../plot.tsx'
import { curve, film, type PolicyFilm, type Shown, traces } from './film.ts'
import { Ring } from './ring.tsx'

const all: readonly Shown[] = [...policyNames, 'opt']
const isShown = (name: string): name is Shown => name === 'opt' || isPolicyName(name)

export function ReplacementView({ place, go }: ViewProps) {
  const own = place.values['pages']
  const choice = traces.find(({ id }) => id === place.values['trace']) ?? traces[0]
  const pages = own === undefined || own === '' ? (choice?.pages ?? []) : parse(own)
  const key = pages.join(' ')
  const trace = useMemo(() => Int32Array.from(pages), [key])
  const footprint = new Set(pages).size
  const frames = Math.max(1, numberIn(place, 'frames', choice?.frames ?? 3, 32))
  const names = (place.values['policies'] ?? 'fifo,lru,clock,dlirs').split(',').filter(isShown)
  const films = useMemo(() => names.map(name => film(name, frames, trace)), [names.join(), frames, trace])
  const step = numberIn(place, 'step', 0, trace.length)
  const x = useMemo(() => Array.from({ length: footprint }, (_, i) => i + 1), [footprint])
  const series = useMemo(
    () =>
      all
        .filter(name => names.includes(name) || name === 'opt')
        .map(name => ({
          name,
          values: curve(name, trace),
          colour: name === 'opt' ? '--ink' : `--c${(names.indexOf(name) % 6) + 1}`,
          strong: name === 'opt',
        })),
    [names.join(), trace],
  )
  const [text, setText] = useState(key)
  const first = films[0]
  return (
    <>
      <div class="picker">
        <div class="choices" role="tablist">
          {traces.map(one => (
            <button
              type="button"
              role="tab"
              key={one.id}
              aria-selected={own === undefined || own === '' ? one === choice : false}
              onClick={() => {
                setText(one.pages.join(' '))
                go({ trace: one.id, pages: '', frames: '', step: '' })
              }}
            >
              {one.name}
            </button>
          ))}
        </div>
      </div>
      <p class="say">{own === undefined || own === '' ? choice?.say : 'Your own trace.'}</p>
      <div class="controls">
        <form
          onSubmit={event => {
            event.preventDefault()
            if (parse(text).length > 0) go({ pages: parse(text).join(' '), step: '' })
          }}
        >
          <label>
            Pages
            <input
              class="wide"
              value={text}
              onInput={event => setText((event.target as HTMLInputElement).value)}
            />
          </label>
          <button type="submit">Run</button>
        </form>
        <label>
          Frames
          <input
            type="range"
            min="1"
            max={Math.max(2, Math.min(32, footprint))}
            value={frames}
            onInput={event => go({ frames: (event.target as HTMLInputElement).value })}
          />
          <output>{frames}</output>
        </label>
      </div>
      <div class="toggles" role="group" aria-label="Policies">
        {all.map(name => (
          <button
            type="button"
            key={name}
            aria-pressed={names.includes(name)}
            onClick={() =>
              go({
                policies: (names.includes(name)
                  ? names.filter(other => other !== name)
                  : [...names, name]
                ).join(','),
              })
            }
          >
            {names.includes(name) && <i style={{ background: `var(--c${(names.indexOf(name) % 6) + 1})` }} />}
            {name}
          </button>
        ))}
      </div>
      <Player
        kinds={(first?.shots ?? []).slice(1).map(({ hit }) => (hit ? 'hit' : 'major-fault'))}
        step={step}
        onStep={to => go({ step: to })}
      />
      <div class="reference" aria-label="The trace">
        {pages.map((page, i) => (
          <span key={i} class={i + 1 === step ? 'now' : i + 1 < step ? 'past' : ''}>
            {page}
          </span>
        ))}
      </div>
      <div class="policies">
        {films.map((one, i) => (
          <PolicyCard
            key={one.name}
            film={one}
            step={step}
            page={pages[step - 1]}
            colour={`var(--c${(i % 6) + 1})`}
          />
        ))}
      </div>
      <div class="card">
        <h2>
          Miss ratio <em>for every number of frames</em>
        </h2>
        <Plot x={x} series={series} xLabel="frames" percent at={frames} />
      </div>
    </>
  )
}

function parse(text: string): number[] {
  return text
    .split(/[\s,;]+/)
    .filter(word => /^\d{1,4}$/.test(word))
    .map(Number)
    .slice(0, 400)
}

function PolicyCard({
  film: { name, shots },
  step,
  page,
  colour,
}: {
  film: PolicyFilm
  step: number
  page: number | undefined
  colour: string
}) {
  const shot = shots[Math.min(step, shots.length - 1)]
  if (shot === undefined) return null
  return (
    <div class="card policy" style={{ '--mine': colour }}>
      <h2>
        {name}
        {step > 0 && <b class={`badge ${shot.hit ? 'hit' : 'major-fault'}`}>{shot.hit ? 'hit' : 'miss'}</b>}
        <em>
          {shot.misses} misses{shot.evicted >= 0 ? ` · ${shot.evicted} went` : ''}
        </em>
      </h2>
      {shot.queues.map(queue =>
        queue.name === 'ring' ? (
          <Ring key={queue.name} queue={queue} page={page} />
        ) : (
          <QueueRow key={queue.name} queue={queue} page={page} />
        ),
      )}
      <div class="history" aria-label="Hits and misses so far">
        {shots.slice(1).map((one, i) => (
          <i key={i} class={i >= step ? 'later' : one.hit ? 'hit' : 'miss'} />
        ))}
      </div>
    </div>
  )
}

function QueueRow({ queue, page }: { queue: Queue; page: number | undefined }) {
  const hands = Object.entries(queue.hands ?? {})
  return (
    <div class={`line ${queue.ghost ? 'ghosts' : ''}`}>
      <span>
        {queue.name}
        {queue.target === undefined ? (
          ''
        ) : (
          <small>{` ${queue.pages.length}/${Math.round(queue.target * 10) / 10}`}</small>
        )}
      </span>
      {queue.pages.map((one, i) => (
        <div key={one} class={`chip ${one === page ? 'now' : ''} ${ghostly(queue, i) ? 'ghost' : ''}`}>
          {one}
          {queue.marks !== undefined && queue.name !== 'S' && <sub>{mark(queue.marks[i])}</sub>}
          {queue.name === 'S' && queue.marks?.[i] === 2 && <sub>LIR</sub>}
          {hands.some(([, at]) => at === i) && <i class="hand" title="hand" />}
        </div>
      ))}
      {queue.pages.length === 0 && <em class="empty">empty</em>}
    </div>
  )
}

const ghostly = (queue: Queue, i: number): boolean =>
  queue.ghost || (queue.name === 'S' && queue.marks?.[i] === 0)
const mark = (value: number | undefined): string =>
  value === undefined ? '' : value === Number.POSITIVE_INFINITY ? '∞' : String(Math.round(value * 10) / 10)
