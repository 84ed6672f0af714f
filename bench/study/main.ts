// npm run study [-- --only NAME … --again --report --note TEXT]: measures program states and writes docs/savings.md.
//
// What has been measured is kept, a file for each state, so a run that was stopped goes on; `--again` begins anew. Debian packages
// that are missing are installed. `--only` measures these states, and only prints them while there are others that have not been
// measured here; `--report` writes the page with what there is, `--note` puts sentences on the machine into it.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { cleanUp } from '../lib/cleanup.ts'
import { inputsFolder, makeInputs } from './inputs.ts'
import { measure, type Result } from './measure.ts'
import { stateTables, writePage } from './page.ts'
import { allStates, type State } from './state.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const results = join(import.meta.dirname, 'results')

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    again: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    note: { type: 'string' },
  },
})
const states = allStates()
for (const name of values.only ?? [])
  if (!states.some(state => state.name === name)) {
    console.error(`There is no state '${name}'; see bench/study/states`)
    process.exit(2)
  }
const wanted = states.filter(({ name }) => values.only?.includes(name) ?? true)

function install(packages: readonly string[]): void {
  const missing = [...new Set(packages)].filter(name => {
    const done = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' })
    return done.stdout !== 'installed'
  })
  if (missing.length === 0) return
  console.error(`study: installing ${missing.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  spawnSync('apt-get', ['update', '-q'], { stdio: ['ignore', 2, 2], env })
  const get = (names: readonly string[]): boolean =>
    spawnSync('apt-get', ['install', '-qy', '--no-install-recommends', ...names], {
      stdio: ['ignore', 2, 2],
      env,
    }).status === 0
  if (get(missing)) return
  // One that this release does not have refuses them all.
  const refused = missing.filter(name => !get([name]))
  if (refused.length > 0) console.error(`study: apt could not install ${refused.join(' ')}`)
}

const file = (state: State): string => join(results, `${state.name}.json`)

if (!values.report) {
  if (process.getuid?.() !== 0) {
    console.error('study: it reads the memory of other programs and installs packages; run it as root')
    process.exit(3)
  }
  mkdirSync(results, { recursive: true })
  if (values.again) for (const state of wanted) rmSync(file(state), { force: true })
  const open = wanted.filter(state => !existsSync(file(state)))
  install(['python3', 'python3-numpy', 'zstd', ...open.flatMap(({ packages }) => packages)])
  if (open.length > 0) makeInputs()
  for (const state of open) {
    try {
      const result = await measure(state)
      writeFileSync(file(state), `${JSON.stringify(result, null, 2)}\n`)
      const share = ((100 * (result.explained + result.pieces)) / result.pages).toFixed(1)
      console.error(`study: ${state.name}: ${share} % explained (${result.seconds.toFixed(0)} s)`)
    } catch (error) {
      console.error(`study: ${state.name} could not be measured: ${(error as Error).message}`)
      process.exitCode = 1
    } finally {
      cleanUp()
    }
  }
}
const measured = states.flatMap(state =>
  existsSync(file(state)) ? [{ state, result: JSON.parse(readFileSync(file(state), 'utf8')) as Result }] : [],
)
const missing = states.filter(state => !existsSync(file(state)))
// The page has all states that somebody has measured, perhaps elsewhere: a few of them are no reason to lose the others.
if (values.only !== undefined && !values.report && missing.length > 0) {
  const chosen = measured.filter(({ state }) => values.only?.includes(state.name))
  if (chosen.length > 0) console.log(stateTables(chosen))
  console.error(
    `study: docs/savings.md stays as it is: of ${states.length} states ${measured.length} are measured here; --report writes it with these`,
  )
} else if (measured.length > 0) writePage(measured, missing, values.note)
if (values.only === undefined && !values.report && measured.length === states.length)
  removeFolder(inputsFolder)
process.exit()
