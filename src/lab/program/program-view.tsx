/**
 * A program that has run: its memory by what makes it or by whose it is, what was resident when, its sites of malloc, and its bugs at
 * their page, cache line and block. From the files that `lethe run --json` and `lethe check --json` write.
 */
import { useEffect, useState } from 'preact/hooks'
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { BugView } from './bug-view.tsx'
import { readRun, type Run, size, type SiteRow } from './document.ts'
import { MemoryMapView } from './memory-map.tsx'
import { ResidencyView } from './residency-view.tsx'

interface Opened {
  readonly name: string
  readonly run?: Run
  readonly wrong?: string
}

const open = (name: string, text: string): Opened => {
  try {
    return { name, run: readRun(text, name) }
  } catch (error) {
    return { name, wrong: (error as Error).message }
  }
}

export function ProgramView({ place, go }: ViewProps) {
  const [files, setFiles] = useState<readonly Opened[]>([])
  const file = numberIn(place, 'file', 0, Math.max(0, files.length - 1))
  useEffect(() => {
    // What `lethe lab FILE…` was given; a page from elsewhere has none.
    void given().then(all => setFiles(had => [...all, ...had]))
  }, [])
  const take = async (list: FileList | null | undefined): Promise<void> => {
    const all = await Promise.all([...(list ?? [])].map(async one => open(one.name, await one.text())))
    setFiles(had => [...had, ...all])
    if (all.length > 0) go({ file: files.length, step: '', bug: '' })
  }
  const shown = files[file]
  return (
    <div
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault()
        void take(event.dataTransfer?.files)
      }}
    >
      <div class="picker">
        <div class="choices" role="tablist">
          {files.map(({ name }, i) => (
            <button
              type="button"
              role="tab"
              key={i}
              aria-selected={i === file}
              onClick={() => go({ file: i, step: '', bug: '' })}
            >
              {name}
            </button>
          ))}
        </div>
        <label>
          Open a file
          <input
            type="file"
            multiple
            accept=".json,.jsonl"
            onChange={event => void take((event.target as HTMLInputElement).files)}
          />
        </label>
      </div>
      {shown === undefined ? <Nothing /> : <Shown key={file} opened={shown} place={place} go={go} />}
    </div>
  )
}

async function given(): Promise<Opened[]> {
  try {
    const names = (await (await fetch('records')).json()) as string[]
    return await Promise.all(
      names.map(async (name, i) => open(name, await (await fetch(`records/${i}`)).text())),
    )
  } catch {
    return []
  }
}

const commands = [
  [
    'lethe run --budget 16M --json run.json prog.wasm',
    'what was resident when, and what makes the rest again',
  ],
  ['lethe run --explain --json run.json prog.wasm', 'which of its own loops make its memory again'],
  ['lethe run --malloc observe --json run.json prog.wasm', 'which places in it take memory'],
  ['lethe check --json run.json prog.wasm', 'what it does wrong with memory'],
] as const

function Nothing() {
  return (
    <>
      <p class="say">
        Run a WebAssembly program with one of these, then open what it has written here: by the button, by
        dropping it on the page, or with <code>lethe lab run.json</code>.
      </p>
      <table class="card rows">
        <tbody>
          {commands.map(([command, about]) => (
            <tr key={command}>
              <td>
                <code>{command}</code>
              </td>
              <td>{about}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

function Shown({ opened: { run, wrong }, place, go }: { opened: Opened } & ViewProps) {
  if (run === undefined) return <p class="say wrong">{wrong}</p>
  const { program, sums, maps, residency, sites, bugs } = run
  return (
    <>
      <p class="say">{program}</p>
      {residency !== undefined && <ResidencyView residency={residency} place={place} go={go} />}
      <div class="stage heap">
        <section class="column">
          {bugs !== undefined && <BugView bugs={bugs} place={place} go={go} />}
          {maps.map(map => (
            <MemoryMapView key={map.title} map={map} />
          ))}
          {sites.length > 0 && <Sites sites={sites} />}
        </section>
        <section class="column narrow">
          {sums.length > 0 && (
            <dl class="card sums">
              {sums.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}=`}>{value}</dd>])}
            </dl>
          )}
        </section>
      </div>
    </>
  )
}

const mostSites = 30

function Sites({ sites }: { sites: readonly SiteRow[] }) {
  const most = Math.max(1, ...sites.map(({ peak }) => peak))
  return (
    <div class="card">
      <h2>
        Places that take memory <em>most bytes at a time; strong: bytes of files</em>
      </h2>
      <table class="rows sites">
        <tbody>
          {[...sites]
            .sort((a, b) => b.peak - a.peak)
            .slice(0, mostSites)
            .map(({ stack, peak, blocks, explained = 0 }, i) => (
              <tr key={i}>
                <td>{size(peak)}</td>
                <td>
                  <div class="bar" style={{ width: `${(100 * peak) / most}%` }}>
                    <i style={{ width: `${100 * explained}%` }} />
                  </div>
                </td>
                <td title={stack.join('\n')}>
                  {stack[0] ?? '?'} <small>{stack.slice(1, 4).join(' ← ')}</small>
                </td>
                <td>{blocks === 1 ? 'one block' : `${blocks.toLocaleString('en')} blocks`}</td>
              </tr>
            ))}
        </tbody>
      </table>
      {sites.length > mostSites && <p class="key">… and {sites.length - mostSites} more</p>}
    </div>
  )
}
