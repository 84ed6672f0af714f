/** The page: which view is shown, its place in the address, theme and keys. Each view has a folder of its own. */
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { HeapView } from './heap/heap-view.tsx'
import { CollectorView } from './heap/collector-view.tsx'
import { formatPlace, parsePlace, type Place } from './link.ts'
import { MachineView } from './machine/machine-view.tsx'
import { ProgramView } from './program/program-view.tsx'
import { ReplacementView } from './replacement/replacement-view.tsx'
import './style.css'
import 'uplot/dist/uPlot.min.css'

const views = [
  { id: 'machine', name: 'Machine', View: MachineView },
  { id: 'replacement', name: 'Replacement', View: ReplacementView },
  { id: 'heap', name: 'Heap', View: HeapView },
  { id: 'collector', name: 'Collector', View: CollectorView },
  { id: 'program', name: 'Program', View: ProgramView },
] as const

/** What a view gets: its place, and how to change it. */
export interface ViewProps {
  readonly place: Place
  /** Changes parameters of the place; an empty one goes back to its default. */
  readonly go: (values: Readonly<Record<string, string | number>>) => void
}

function App() {
  const [place, setPlace] = useState(parsePlace(location.hash))
  useEffect(() => {
    const follow = (): void => setPlace(parsePlace(location.hash))
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  const current = views.find(({ id }) => id === place.view) ?? views[0]
  const go = (values: Readonly<Record<string, string | number>>): void => {
    const next = {
      view: current.id,
      values: {
        ...(place.view === current.id ? place.values : {}),
        ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)])),
      },
    }
    history.replaceState(null, '', formatPlace(next))
    setPlace(next)
  }
  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName))
        return
      if (event.ctrlKey || event.metaKey || event.altKey) return
      const view = views[Number(event.key) - 1]
      if (view !== undefined) location.hash = view.id
      if (event.key === 't') switchTheme()
    }
    addEventListener('keydown', key)
    return () => removeEventListener('keydown', key)
  }, [])
  return (
    <>
      <header class="top">
        <h1>
          Lethe <span>lab</span>
        </h1>
        <nav>
          {views.map(({ id, name }, i) => (
            <a key={id} href={`#${id}`} aria-current={id === current.id ? 'page' : undefined}>
              {name} <kbd>{i + 1}</kbd>
            </a>
          ))}
        </nav>
        <button type="button" class="quiet" onClick={switchTheme}>
          Theme <kbd>t</kbd>
        </button>
      </header>
      <main key={current.id}>
        <current.View place={place.view === current.id ? place : { view: current.id, values: {} }} go={go} />
      </main>
    </>
  )
}

function switchTheme(): void {
  const root = document.documentElement
  const dark =
    root.dataset['theme'] === 'dark' ||
    (root.dataset['theme'] === undefined && matchMedia('(prefers-color-scheme: dark)').matches)
  root.dataset['theme'] = dark ? 'light' : 'dark'
  localStorage.setItem('theme', root.dataset['theme'])
}

const theme = localStorage.getItem('theme')
if (theme !== null) document.documentElement.dataset['theme'] = theme
render(<App />, document.getElementById('app') as HTMLElement)
