/** One access after the other through all layers: processes and their tables, TLB, caches, memory, disk, and the way between them. */
import { useMemo, useRef, useState } from 'preact/hooks'
import type { Access } from '../../machine/access.ts'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { type Arrow, Arrows } from './arrows.tsx'
import { Bits, hex } from './bits.tsx'
import type { Film, ProcessShot, Shot } from './film.ts'
import { LectureView } from './lecture-view.tsx'
import { scenarios } from './scenarios.ts'

const firstTrace = 'r 0x000\nw 0x044\nr 0x080\nr 0x044 other\nw 0x048 other\nr 0x048'

export function MachineView({ place, go }: ViewProps) {
  const id = place.values['scenario'] ?? 'lecture'
  const scenario = scenarios.find(one => one.id === id)
  return (
    <>
      <div class="picker">
        <div class="choices" role="tablist">
          {[{ id: 'lecture', name: 'The lecture’s examples' }, ...scenarios].map(one => (
            <button
              type="button"
              role="tab"
              key={one.id}
              aria-selected={one.id === id}
              onClick={() => go({ scenario: one.id, step: '' })}
            >
              {one.name}
            </button>
          ))}
        </div>
      </div>
      {scenario === undefined ? (
        <LectureView place={place} go={go} />
      ) : (
        <Run key={id} scenario={scenario} place={place} go={go} />
      )}
    </>
  )
}

function Run({ scenario, place, go }: ViewProps & { scenario: (typeof scenarios)[number] }) {
  const trace = place.values['trace'] ?? firstTrace
  const [text, setText] = useState(trace)
  const film = useMemo(() => scenario.film(trace), [scenario, trace])
  const last = film.shots.length - 1
  const step = numberIn(place, 'step', 0, last)
  const shot = film.shots[step] as Shot
  const stage = useRef<HTMLDivElement>(null)
  const kinds = film.shots.slice(1).map(({ access }) => access?.verdict.replace(' ', '-') ?? 'act')
  return (
    <>
      <p class="say">{scenario.say}</p>
      {scenario.id === 'own' && (
        <form
          class="own"
          onSubmit={event => {
            event.preventDefault()
            go({ trace: text, step: '' })
          }}
        >
          <textarea
            rows={4}
            value={text}
            aria-label="Trace"
            onInput={event => setText((event.target as HTMLTextAreaElement).value)}
          />
          <button type="submit">Run</button>
        </form>
      )}
      <Player kinds={kinds} step={step} onStep={to => go({ step: to })} />
      <div class="stage machine" ref={stage}>
        <section class="column">
          <Cpu film={film} shot={shot} />
          <Tlb film={film} shot={shot} />
          <Caches film={film} shot={shot} />
        </section>
        <section class="column">
          {shot.processes.map(process => (
            <Table key={process.pid} process={process} shot={shot} />
          ))}
        </section>
        <section class="column">
          <Memory film={film} shot={shot} />
          <Policy film={film} shot={shot} />
          <Disk film={film} shot={shot} />
        </section>
        <section class="column told">
          <Story shot={shot} />
          <Sums film={film} step={step} />
        </section>
        <Arrows arrows={way(film, shot)} over={stage} />
      </div>
    </>
  )
}

function Cpu({ film: { config }, shot: { access } }: { film: Film; shot: Shot }) {
  const offset = Math.log2(config.pageSize)
  const sets = config.tlb === null ? 0 : Math.log2(config.tlb.entries / config.tlb.ways)
  const vpn = config.virtualBits - offset
  const cache = config.caches[0]?.unified ?? config.caches[0]?.data
  const look = access?.caches[0]
  const line = cache === undefined ? 0 : Math.log2(cache.line)
  const cacheSets = cache === undefined ? 0 : Math.log2(cache.size / cache.line / cache.ways)
  return (
    <div class="card cpu" data-key="cpu">
      <h2>
        Processor
        {access !== undefined && (
          <em>
            process {access.process} · {access.kind}
          </em>
        )}
      </h2>
      <Bits
        name="Virtual address"
        value={access?.address}
        above={[
          { name: 'VPN', bits: vpn, value: access?.vpn },
          { name: 'VPO', bits: offset, value: access?.vpo },
        ]}
        below={
          config.tlb === null
            ? []
            : [
                { name: 'TLBT', bits: vpn - sets, value: access?.tlb?.tag },
                { name: 'TLBI', bits: sets, value: access?.tlb?.set },
                { name: '', bits: offset },
              ]
        }
      />
      <Bits
        name="Physical address"
        value={access?.physical}
        above={[
          { name: 'PPN', bits: config.physicalBits - offset, value: access?.ppn },
          { name: 'PPO', bits: offset, value: access?.physical === undefined ? undefined : access.vpo },
        ]}
        below={
          cache === undefined
            ? []
            : [
                { name: 'CT', bits: config.physicalBits - line - cacheSets, value: look?.tag },
                { name: 'CI', bits: cacheSets, value: look?.set },
                { name: 'CO', bits: line, value: look?.offset },
              ]
        }
      />
    </div>
  )
}

function Table({ process, shot }: { process: ProcessShot; shot: Shot }) {
  const { access } = shot
  const mine = shot.current === process.pid
  return (
    <div class={`card table p${process.pid % 4} ${mine ? 'runs' : ''}`}>
      <h2>
        Page table
        <em>
          process {process.pid}, {process.name}
          {process.ended === undefined ? (mine ? ', runs' : '') : `, ${process.ended}`}
        </em>
      </h2>
      <table>
        <thead>
          <tr>
            <th>VPN</th>
            <th>frame</th>
            <th>flags</th>
            <th>where</th>
          </tr>
        </thead>
        <tbody>
          {process.pages.map(({ vpn, entry, where, slot }) => (
            <tr
              key={vpn}
              data-key={`pte-${process.pid}-${vpn}`}
              class={access?.process === process.pid && access.vpn === vpn ? 'now' : ''}
            >
              <td>{hex(vpn, 2)}</td>
              <td>{entry.valid ? hex(entry.frame) : '–'}</td>
              <td class="flags">
                {[
                  ['V', entry.valid],
                  ['R', entry.valid && entry.read],
                  ['W', entry.valid && entry.write],
                  ['X', entry.valid && entry.execute],
                  ['A', entry.valid && entry.referenced],
                  ['D', entry.valid && entry.dirty],
                ].map(([letter, on]) => (
                  <i key={String(letter)} class={on === true ? 'on' : ''}>
                    {letter}
                  </i>
                ))}
              </td>
              <td class={`where ${where}`}>{where === 'swap' ? `swap ${slot}` : where}</td>
            </tr>
          ))}
          {process.pages.length === 0 && (
            <tr>
              <td colSpan={4} class="empty">
                no page touched yet
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  )
}

function Story({ shot: { access, note } }: { shot: Shot }) {
  return (
    <div class="card story">
      <h2>
        What happened
        {access !== undefined && <b class={`badge ${access.verdict.replace(' ', '-')}`}>{access.verdict}</b>}
      </h2>
      <p class="note">{note}</p>
      {access !== undefined && (
        <ol>
          {sentences(access).map((sentence, i) => (
            <li key={i}>{whole(sentence)}</li>
          ))}
        </ol>
      )}
    </div>
  )
}

/** As a sentence: the kernel's steps are parts of one. */
function whole(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return first.endsWith('.') ? first : `${first}.`
}

function sentences(access: Access): string[] {
  const { tlb, walk, fault, caches } = access
  const out: string[] = []
  if (tlb !== undefined)
    out.push(
      tlb.hit
        ? `TLB set ${tlb.set} has page ${hex(access.vpn)}: frame ${hex(access.ppn ?? 0)}.`
        : `TLB set ${tlb.set} does not have page ${hex(access.vpn)}.`,
    )
  for (const step of walk)
    out.push(
      `Table of level ${step.level}, entry ${hex(step.index)}, from ${step.from}: ${step.entry.valid ? `frame ${hex(step.entry.frame)}` : 'not valid'}.`,
    )
  if (fault !== undefined) out.push(...fault.steps)
  for (const look of caches)
    if (look.aside !== true)
      out.push(`${look.name} set ${look.set}: ${look.hit ? 'hit' : 'miss, the line is brought'}.`)
  out.push(`${access.cycles.toLocaleString('en')} cycles.`)
  return out
}

function Tlb({ film: { config }, shot }: { film: Film; shot: Shot }) {
  if (config.tlb === null) return null
  const { ways, entries } = config.tlb
  const { tlb } = shot.access ?? {}
  return (
    <div class="card">
      <h2>
        TLB <em>{`${entries} entries, ${ways} ways`}</em>
      </h2>
      <div class="sets">
        {Array.from({ length: entries / ways }, (_, set) => (
          <div class={`set ${tlb?.set === set ? 'now' : ''}`} key={set}>
            <span>set {set}</span>
            {Array.from({ length: ways }, (_way, way) => {
              const held = shot.tlb[set * ways + way]
              const here = tlb?.set === set && tlb.way === way
              return (
                <div
                  key={way}
                  data-key={`tlb-${set}-${way}`}
                  class={`cell ${held === undefined ? 'free' : `p${held.pid % 4}`} ${here ? (tlb?.hit === true ? 'hit' : 'miss') : ''}`}
                >
                  {held === undefined ? '' : `${hex(held.vpn, 2)} → ${hex(held.frame)}`}
                </div>
              )
            })}
          </div>
        ))}
      </div>
    </div>
  )
}

function Caches({ film: { config }, shot }: { film: Film; shot: Shot }) {
  return (
    <>
      {shot.caches.map(({ name, lines }, level) => {
        const of = config.caches[level]
        const shape = of?.unified ?? of?.data
        const look = shot.access?.caches.find(one => one.name === name)
        if (shape === undefined) return null
        return (
          <div class="card" key={name}>
            <h2>
              Cache {name} <em>{`${shape.size} bytes, lines of ${shape.line}, ${shape.ways} ways`}</em>
            </h2>
            <div class="sets">
              {Array.from({ length: lines.length / shape.ways }, (_, set) => (
                <div class={`set ${look?.set === set ? 'now' : ''}`} key={set}>
                  <span>set {set}</span>
                  {lines.slice(set * shape.ways, (set + 1) * shape.ways).map((held, way) => (
                    <div
                      key={way}
                      data-key={`${name}-${set}-${way}`}
                      class={`cell ${held.address < 0 ? 'free' : ''} ${look?.set === set && look.way === way ? (look.hit ? 'hit' : 'miss') : ''}`}
                    >
                      {held.address < 0 ? '' : hex(held.address, 3)}
                      {held.dirty && <i class="dirty" title="dirty" />}
                    </div>
                  ))}
                </div>
              ))}
            </div>
          </div>
        )
      })}
    </>
  )
}

function Memory({ film: { config }, shot }: { film: Film; shot: Shot }) {
  return (
    <div class="card">
      <h2>
        Memory <em>{`${config.frames} frames of ${config.pageSize} bytes`}</em>
      </h2>
      <div class="frames">
        {shot.frames.map(({ frame, pages, dirty, from, table }) => (
          <div
            key={frame}
            data-key={`frame-${frame}`}
            title={from}
            class={`frame ${table ? 'tables' : pages.length === 0 ? 'free' : `p${(pages[0]?.pid ?? 0) % 4}`} ${shot.access?.ppn === frame ? 'now' : ''} ${pages.length > 1 ? 'shared' : ''}`}
          >
            <span>{hex(frame)}</span>
            {table ? 'page table' : pages.map(({ pid, vpn }) => `${pid}:${hex(vpn, 2)}`).join(' ')}
            {dirty && <i class="dirty" title="dirty" />}
          </div>
        ))}
      </div>
    </div>
  )
}

function Policy({ film: { config }, shot }: { film: Film; shot: Shot }) {
  return (
    <div class="card">
      <h2>
        Replacement <em>{config.policy}</em>
      </h2>
      {shot.queues.map(queue => (
        <div class="line" key={queue.name}>
          <span>{queue.name}</span>
          {queue.pages.map(unit => (
            <div class="chip" key={unit}>
              {shot.units[unit] ?? '·'}
            </div>
          ))}
          {queue.pages.length === 0 && <em class="empty">empty</em>}
        </div>
      ))}
    </div>
  )
}

function Disk({ film: { config }, shot }: { film: Film; shot: Shot }) {
  const read = shot.access?.fault?.transfers ?? []
  const evictions = shot.access?.fault?.evictions ?? []
  const source = shot.processes.flatMap(process => process.pages).some(page => page.where === 'lens')
  return (
    <div class="card" data-key="disk">
      <h2>
        Disk <em>{`swap area of ${config.swapSlots} pages`}</em>
      </h2>
      <div class="slots">
        {Array.from({ length: Math.min(config.swapSlots, 32) }, (_, slot) => (
          <div
            key={slot}
            data-key={`swap-${slot}`}
            class={`slot ${shot.swap.includes(slot) ? 'used' : 'free'} ${read.some(one => one.device === 'swap' && one.at === slot) ? 'now' : ''}`}
          >
            {slot}
          </div>
        ))}
      </div>
      <p class="note small">
        {read
          .map(({ direction, device, frame }) => `${direction} ${device}, frame ${hex(frame)}`)
          .join(' · ') ||
          (evictions.length > 0
            ? 'A page went; nothing had to be written.'
            : source
              ? 'The lens’s file.'
              : 'Idle.')}
      </p>
    </div>
  )
}

function Sums({ film, step }: { film: Film; step: number }) {
  const seen = film.shots.slice(1, step + 1).flatMap(({ access }) => (access === undefined ? [] : [access]))
  const share = (count: number): string =>
    seen.length === 0 ? '–' : `${Math.round((100 * count) / seen.length)} %`
  const faults = seen.filter(({ verdict }) => verdict.endsWith('fault') && verdict !== 'segmentation fault')
  const cycles = seen.reduce((sum, access) => sum + access.cycles, 0)
  return (
    <dl class="card sums">
      <dt>Accesses</dt>
      <dd>{seen.length}</dd>
      <dt>TLB hits</dt>
      <dd>{share(seen.filter(({ tlb }) => tlb?.hit === true).length)}</dd>
      <dt>Page faults</dt>
      <dd>{faults.length}</dd>
      <dt>Cache hits</dt>
      <dd>{share(seen.filter(({ caches }) => caches[0]?.hit === true).length)}</dd>
      <dt>Cycles an access</dt>
      <dd>{seen.length === 0 ? '–' : Math.round(cycles / seen.length).toLocaleString('en')}</dd>
    </dl>
  )
}

/** The way of an access over the page. */
function way({ config }: Film, { access }: Shot): Arrow[] {
  if (access === undefined) return []
  const arrows: Arrow[] = []
  const pte = `pte-${access.process}-${access.vpn}`
  let from = 'cpu'
  if (access.tlb !== undefined) {
    const slot = `tlb-${access.tlb.set}-${access.tlb.way ?? 0}`
    arrows.push({ from: 'cpu', to: slot, kind: access.tlb.hit ? 'hit' : 'miss' })
    from = slot
    if (!access.tlb.hit) {
      arrows.push({ from: slot, to: pte, kind: 'lookup' })
      from = pte
    }
  } else if (config.translation) {
    arrows.push({ from: 'cpu', to: pte, kind: 'lookup' })
    from = pte
  }
  if (access.ppn === undefined) return arrows
  const frame = `frame-${access.ppn}`
  for (const { direction, device, at, frame: to } of access.fault?.transfers ?? []) {
    const place = device === 'swap' ? `swap-${at}` : 'disk'
    arrows.push(
      direction === 'read'
        ? { from: place, to: `frame-${to}`, kind: 'disk' }
        : { from: `frame-${to}`, to: place, kind: 'disk' },
    )
  }
  arrows.push({ from, to: frame, kind: access.verdict === 'hit' ? 'hit' : 'lookup' })
  const look = access.caches[0]
  if (look !== undefined)
    arrows.push({
      from: frame,
      to: `${look.name}-${look.set}-${look.way ?? 0}`,
      kind: look.hit ? 'hit' : 'miss',
    })
  return arrows
}
