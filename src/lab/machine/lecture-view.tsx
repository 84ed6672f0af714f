/** The lecture's problem sheet on its own tables: an address, and its blanks filled in one after the other. */
import { useMemo, useState } from 'preact/hooks'
import { machineConfig } from '../../machine/configure.ts'
import { lectureState } from '../../machine/lecture-state.ts'
import { loadState } from '../../machine/state.ts'
import { type Sheet, translate } from '../../machine/translate.ts'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { Player } from '../player.tsx'
import { Bits, hex } from './bits.tsx'

const config = machineConfig({ preset: 'lecture' })
const examples = [0x03a9, 0x0040, 0x03d4, 0x0b8f, 0x0020, 0x0255]
const steps = 8

export function LectureView({ place, go }: ViewProps) {
  const address = numberIn(place, 'address', 0x03a9, 2 ** config.virtualBits - 1)
  const step = numberIn(place, 'step', steps, steps)
  const [text, setText] = useState(hex(address, 4))
  const loaded = useMemo(() => loadState(config), [])
  const sheet = useMemo(() => translate(loaded, address), [address])
  const open = (next: number): void => {
    setText(hex(next, 4))
    go({ address: hex(next, 4), step: 0 })
  }
  const wanted = Number(text)
  const good = text !== '' && Number.isInteger(wanted) && wanted >= 0 && wanted < 2 ** config.virtualBits
  return (
    <>
      <p class="say">
        A memory system small enough for paper: 14-bit virtual addresses, 12-bit physical ones, pages of 64
        bytes, a TLB of 16 entries in 4 ways, a direct-mapped cache of 16 lines. Every blank of the problem
        sheet, step by step.
      </p>
      <div class="addresses">
        {examples.map(one => (
          <button type="button" key={one} aria-pressed={one === address} onClick={() => open(one)}>
            {hex(one, 4)}
          </button>
        ))}
        <form
          onSubmit={event => {
            event.preventDefault()
            if (good) open(wanted)
          }}
        >
          <input
            value={text}
            aria-label="Virtual address"
            aria-invalid={!good}
            onInput={event => setText((event.target as HTMLInputElement).value)}
          />
          <button type="submit" disabled={!good}>
            Translate
          </button>
        </form>
      </div>
      <Player
        kinds={Array.from({ length: steps }, () => 'hit')}
        step={step}
        onStep={to => go({ step: to })}
      />
      <div class="stage lecture">
        <section class="column">
          <div class="card">
            <h2>Address</h2>
            <Bits
              name="Virtual address"
              value={address}
              above={[
                { name: 'VPN', bits: 8, value: step >= 1 ? sheet.vpn : undefined },
                { name: 'VPO', bits: 6, value: step >= 1 ? sheet.vpo : undefined },
              ]}
              below={[
                { name: 'TLBT', bits: 6, value: step >= 2 ? sheet.tlbt : undefined },
                { name: 'TLBI', bits: 2, value: step >= 2 ? sheet.tlbi : undefined },
                { name: '', bits: 6 },
              ]}
            />
            <Bits
              name="Physical address"
              value={step >= 5 ? sheet.physical : undefined}
              above={[
                { name: 'PPN', bits: 6, value: step >= 5 ? sheet.ppn : undefined },
                { name: 'PPO', bits: 6, value: step >= 5 ? sheet.ppo : undefined },
              ]}
              below={[
                { name: 'CT', bits: 6, value: step >= 6 ? sheet.ct : undefined },
                { name: 'CI', bits: 4, value: step >= 6 ? sheet.ci : undefined },
                { name: 'CO', bits: 2, value: step >= 6 ? sheet.co : undefined },
              ]}
            />
          </div>
          <Blanks sheet={sheet} step={step} />
        </section>
        <section class="column">
          <TlbTable sheet={sheet} step={step} />
          <PageTable sheet={sheet} step={step} />
        </section>
        <section class="column">
          <CacheTable sheet={sheet} step={step} />
        </section>
      </div>
    </>
  )
}

function Blanks({ sheet, step }: { sheet: Sheet; step: number }) {
  const yes = (is: boolean | undefined): string | undefined =>
    is === undefined ? undefined : is ? 'yes' : 'no'
  const number = (value: number | undefined): string | undefined =>
    value === undefined ? undefined : hex(value)
  const rows: [name: string, at: number, value: string | undefined][] = [
    ['VPN', 1, number(sheet.vpn)],
    ['TLB index', 2, number(sheet.tlbi)],
    ['TLB tag', 2, number(sheet.tlbt)],
    ['TLB hit', 3, yes(sheet.tlbHit)],
    ['Page fault', 4, yes(sheet.pageFault)],
    ['PPN', 5, number(sheet.ppn)],
    ['Physical address', 5, number(sheet.physical)],
    ['Cache offset', 6, number(sheet.co)],
    ['Cache index', 6, number(sheet.ci)],
    ['Cache tag', 6, number(sheet.ct)],
    ['Cache hit', 7, yes(sheet.cacheHit)],
    ['Byte', 8, number(sheet.byte)],
  ]
  return (
    <dl class="card blanks">
      {rows.map(([name, at, value]) => (
        <div key={name} class={at === step ? 'now' : ''}>
          <dt>{name}</dt>
          <dd>{step >= at ? (value ?? '–') : ''}</dd>
        </div>
      ))}
    </dl>
  )
}

function TlbTable({ sheet, step }: { sheet: Sheet; step: number }) {
  const rows = lectureState.tlb ?? []
  return (
    <div class="card">
      <h2>
        TLB <em>4 sets, 4 ways: tag → PPN</em>
      </h2>
      <div class="sets">
        {[0, 1, 2, 3].map(set => (
          <div key={set} class={`set ${step >= 2 && sheet.tlbi === set ? 'now' : ''}`}>
            <span>{set}</span>
            {[0, 1, 2, 3].map(way => {
              const held = rows.find(row => Number(row.set) === set && Number(row.way) === way)
              const hit =
                step >= 3 && sheet.tlbHit === true && sheet.tlbi === set && Number(held?.tag) === sheet.tlbt
              return (
                <div key={way} class={`cell ${held === undefined ? 'free' : 'p1'} ${hit ? 'hit' : ''}`}>
                  {held === undefined ? '' : `${plain(Number(held.tag))} → ${plain(Number(held.ppn))}`}
                </div>
              )
            })}
          </div>
        ))}
      </div>
    </div>
  )
}

/** As the lecture's tables write it. */
const plain = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0')

function PageTable({ sheet, step }: { sheet: Sheet; step: number }) {
  const rows = new Map(
    (lectureState.pageTable ?? []).flatMap(row =>
      row !== null && typeof row === 'object' ? [[Number(row.vpn), Number(row.ppn)] as const] : [],
    ),
  )
  const asked = step >= 4 && sheet.tlbHit === false
  return (
    <div class="card">
      <h2>
        Page table <em>first 16 entries</em>
      </h2>
      <div class="ptes">
        {Array.from({ length: 16 }, (_, vpn) => (
          <div
            key={vpn}
            class={`cell ${rows.has(vpn) ? 'p1' : 'free'} ${asked && sheet.vpn === vpn ? (sheet.pageFault ? 'miss' : 'hit') : ''}`}
          >
            <span>{plain(vpn)}</span>
            {rows.has(vpn) ? plain(rows.get(vpn) ?? 0) : '–'}
          </div>
        ))}
      </div>
    </div>
  )
}

function CacheTable({ sheet, step }: { sheet: Sheet; step: number }) {
  const rows = lectureState.caches?.['L1'] ?? []
  return (
    <div class="card">
      <h2>
        Cache <em>16 lines of 4 bytes</em>
      </h2>
      <table class="lines">
        <thead>
          <tr>
            <th>index</th>
            <th>tag</th>
            <th>0</th>
            <th>1</th>
            <th>2</th>
            <th>3</th>
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: 16 }, (_, set) => {
            const held = rows.find(row => Number(row.set) === set)
            const here = step >= 6 && sheet.ci === set
            const bytes = String(held?.bytes ?? '').match(/../g)
            return (
              <tr key={set} class={here ? (step < 7 ? 'now' : sheet.cacheHit === true ? 'hit' : 'miss') : ''}>
                <td>{set.toString(16).toUpperCase()}</td>
                <td>{held === undefined ? '–' : plain(Number(held.tag))}</td>
                {[0, 1, 2, 3].map(at => (
                  <td
                    key={at}
                    class={here && step >= 8 && sheet.cacheHit === true && sheet.co === at ? 'byte' : ''}
                  >
                    {bytes?.[at] ?? '–'}
                  </td>
                ))}
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}
