/** A heap under a program: its blocks where they lie, the free list, the search, the split, the merging, and how full it is. */
import { useMemo } from 'preact/hooks'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { Plot } from '../plot.tsx'
import { BlockMap } from './block-map.tsx'
import { programs, run } from './film.ts'

const policies = [
  'implicit first',
  'implicit next',
  'implicit best',
  'implicit first deferred',
  'implicit first never',
  'explicit first lifo',
  'explicit first address',
  'explicit best lifo',
  'segregated first lifo',
  'tree',
  'buddy',
  'tlsf',
  'best',
]

export function HeapView({ place, go }: ViewProps) {
  const choice = programs.find(({ id }) => id === place.values['program']) ?? programs[0]
  const named = place.values['policy'] ?? 'explicit first lifo'
  const policy = policies.includes(named) ? named : 'explicit first lifo'
  const film = useMemo(() => run(policy, choice?.program ?? ''), [policy, choice])
  const last = film.shots.length - 1
  const step = numberIn(place, 'step', 0, last)
  const shot = film.shots[step]
  const x = useMemo(() => film.shots.map((_, i) => i), [film])
  const series = useMemo(
    () => [
      { name: 'heap', values: film.shots.map(one => one.heap), colour: '--c2' },
      { name: 'payload', values: film.shots.map(one => one.payload), colour: '--c1', strong: true },
    ],
    [film],
  )
  if (shot === undefined || choice === undefined) return null
  const { fragmentation: parts } = shot
  const peak = Math.max(...film.shots.slice(0, step + 1).map(one => one.payload))
  return (
    <>
      <div class="picker">
        <div class="choices" role="tablist">
          {programs.map(one => (
            <button
              type="button"
              role="tab"
              key={one.id}
              aria-selected={one === choice}
              onClick={() => go({ program: one.id, step: '' })}
            >
              {one.name}
            </button>
          ))}
        </div>
        <label>
          Allocator
          <select
            value={policy}
            onChange={event => go({ policy: (event.target as HTMLSelectElement).value })}
          >
            {policies.map(name => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      </div>
      <p class="say">{choice.say}</p>
      <Player
        kinds={film.shots
          .slice(1)
          .map(one =>
            one.operation.startsWith('f') ? 'free-op' : one.operation.startsWith('r') ? 'act' : 'hit',
          )}
        step={step}
        onStep={to => go({ step: to })}
      />
      <div class="stage heap">
        <section class="column">
          <div class="card">
            <h2>
              {shot.operation === '' ? 'An empty heap' : words(shot.operation)}
              <em>{shot.failed ? 'no memory' : shot.effect}</em>
            </h2>
            <BlockMap shot={shot} tag={film.tag} begin={film.begin} />
            <p class="key">
              <i class="payload" /> payload <i class="tag" /> header, footer <i class="padding" /> padding{' '}
              <i class="hole" /> free
              <i class="seen" /> searched
            </p>
          </div>
        </section>
        <section class="column narrow">
          <dl class="card sums">
            <dt>Payload</dt>
            <dd>{shot.payload.toLocaleString('en')}</dd>
            <dt>Heap</dt>
            <dd>{shot.heap.toLocaleString('en')}</dd>
            <dt>Peak utilisation</dt>
            <dd>{((100 * peak) / Math.max(1, shot.heap)).toFixed(1)} %</dd>
            <dt>Internal fragmentation</dt>
            <dd>{parts.internal.toLocaleString('en')}</dd>
            <dt>External fragmentation</dt>
            <dd>{parts.external.toLocaleString('en')}</dd>
            <dt>Largest free block</dt>
            <dd>{parts.largestFree.toLocaleString('en')}</dd>
            <dt>Blocks searched</dt>
            <dd>{shot.path.length}</dd>
          </dl>
          {shot.list.length > 0 && (
            <div class="card">
              <h2>
                Free list <em>from its head</em>
              </h2>
              <div class="line list">
                {shot.list.map(at => (
                  <div key={at} class={`chip ${shot.path.includes(at) ? 'now' : ''}`}>
                    {at - film.begin}
                    <sub>{shot.blocks.find(block => block.at === at)?.size}</sub>
                  </div>
                ))}
              </div>
            </div>
          )}
          <div class="card">
            <h2>
              Bytes <em>payload and heap</em>
            </h2>
            <Plot x={x} series={series} xLabel="operation" height={220} at={step} />
          </div>
        </section>
      </div>
    </>
  )
}

function words(operation: string): string {
  const [what, name, bytes] = operation.split(' ')
  if (what === 'f') return `free(${name})`
  return what === 'r' ? `${name} = realloc(${name}, ${bytes})` : `${name} = malloc(${bytes})`
}
