// lethe top: all processes that we may read, live, with how much of each is explained.
import { spawn } from 'node:child_process'
import { emitKeypressEvents, type Key } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { Command, Option } from 'commander'
import type { Estimates } from '../top/estimates.ts'
import type { Look, Looker } from '../top/look.ts'
import {
  arrange,
  headLine,
  rowLine,
  type Sort,
  sorts,
  summaryLine,
  type TopRow,
  type View,
} from '../top/table.ts'
import { examples, options } from './arguments.ts'
import { exitCode, CommandError, UsageError } from './errors.ts'
import { columns, paint, print, printJson } from './output.ts'

interface TopFlags {
  readonly once?: boolean
  readonly json?: boolean
  readonly sort: Sort
  readonly filter?: string
  readonly every: number
  readonly cpu: number
  readonly sample: boolean
  readonly state?: string
}

const help =
  'q quit · ↑↓ select · s sort · r reverse · / filter · e sample now, E all · a audit · t attach · d detach · h help'

export function topCommand(): Command {
  return new Command('top')
    .description('show all processes, live: their memory, how much of it files explain, what is virtual')
    .option('--once', 'one look, when all large processes have been sampled, and end')
    .addOption(options.json('print JSON, one document for each look'))
    .addOption(new Option('--sort <column>', 'what is first').choices(sorts).default('anonymous'))
    .option('--filter <text>', 'only processes whose command or user has this in it, or with this number')
    .addOption(
      new Option('--every <seconds>', 'time between two looks').default(2).argParser(text => {
        const seconds = Number(text)
        if (!(seconds >= 0.2 && seconds <= 3600))
          throw new UsageError(`--every ${text}: give a number of seconds from 0.2 to 3600`)
        return seconds
      }),
    )
    .addOption(
      new Option('--cpu <percent>', 'share of one CPU that all of it may use, samples included')
        .argParser(text => {
          const percent = Number(text.replace(/%$/, ''))
          if (!(percent > 0 && percent <= 100))
            throw new UsageError(
              `'${text}' is not a share of one CPU: give a number of percent above 0, at most 100`,
            )
          return percent / 100
        })
        .default(0.025, '2.5'),
    )
    .option('--no-sample', 'leave out what is explained')
    .addOption(options.state())
    .addHelpText(
      'after',
      `\nEXPL is estimated from at most 12 MiB of each process with 8 MiB or more; a dot: not sampled yet. Keys: ${help}.
--once does not save CPU.\n${examples([
        ['lethe top', 'live'],
        ['lethe top --filter python --sort explained', 'where most is to be had'],
        ['lethe top --once --json', 'for scripts'],
      ])}`,
    )
    .action(top)
}

async function top(flags: TopFlags): Promise<void> {
  if (process.platform !== 'linux')
    throw new CommandError(exitCode.impossible, 'lethe top reads /proc, which only Linux has; run it there')
  const { Estimates: Made } = await import('../top/estimates.ts')
  const { Looker: Eye, lookDocument } = await import('../top/look.ts')
  const { Processes } = await import('../top/processes.ts')
  const { listPagers } = await import('../pager/start.ts')
  let redraw = (): void => {}
  const estimates = new Made({ share: flags.once ? undefined : flags.cpu, changed: () => redraw() })
  const looker = new Eye(new Processes(), estimates, () => listPagers(flags.state), flags.sample)
  const view: View = { sort: flags.sort, reverse: false, filter: flags.filter ?? '' }
  if (flags.once) {
    let seen = await looker.look()
    while (flags.sample && !estimates.complete) {
      await new Promise(after => setTimeout(after, 50))
      if (estimates.complete) seen = await looker.look()
    }
    if (flags.json) printJson(lookDocument(filtered(seen, view)), 2)
    else printTable(seen, view)
    await estimates.close()
    return
  }
  if (process.stdout.isTTY && process.stdin.isTTY && !flags.json) {
    const screen = new Screen(looker, estimates, view, flags)
    redraw = () => screen.draw()
    await screen.run()
    await estimates.close()
    return
  }
  for (;;) {
    const seen = await looker.look()
    if (flags.json) printJson(lookDocument(filtered(seen, view)))
    else printTable(seen, view)
    await new Promise(after => setTimeout(after, flags.every * 1000))
  }
}

function filtered(seen: Look, view: View): Look {
  return { ...seen, rows: arrange(seen.rows, view) }
}

function printTable({ rows, hidden, waiting }: Look, view: View): void {
  const width = process.stdout.isTTY ? columns() : 160
  const shown = arrange(rows, view)
  print(summaryLine(shown, hidden, waiting))
  print(paint('bold', headLine(view, width).trimEnd()))
  for (const row of shown) print(rowLine(row, width))
}

// The live screen: the terminal's other buffer, drawn as one write, and only what has changed.
class Screen {
  readonly #looker: Looker
  readonly #estimates: Estimates
  readonly #flags: TopFlags
  #view: View
  #seen: Look = { rows: [], hidden: 0, waiting: 0 }
  #selected: number | undefined
  #first = 0
  /** Text of the filter while it is typed. */
  #typing: string | undefined
  #helping = false
  /** Another program has the terminal. */
  #away = false
  #shown: string[] = []
  #quit: () => void = () => {}

  constructor(looker: Looker, estimates: Estimates, view: View, flags: TopFlags) {
    this.#looker = looker
    this.#estimates = estimates
    this.#view = view
    this.#flags = flags
  }

  async run(): Promise<void> {
    const over = new Promise<void>(resolve => {
      this.#quit = resolve
    })
    const onKey = (text: string | undefined, key: Key): void => this.#key(text ?? '', key)
    emitKeypressEvents(process.stdin)
    process.stdin.on('keypress', onKey)
    process.stdout.on('resize', () => this.#clear())
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.#quit())
    process.on('exit', () => this.#leave())
    this.#enter()
    let timer: NodeJS.Timeout | undefined
    let ended = false
    const look = async (): Promise<void> => {
      if (!this.#away) {
        this.#seen = await this.#looker.look()
        this.draw()
      }
      if (!ended) timer = setTimeout(() => void look(), this.#flags.every * 1000)
    }
    await look()
    await over
    ended = true
    clearTimeout(timer)
    process.stdin.off('keypress', onKey)
    this.#leave()
    process.stdin.pause()
  }

  #enter(): void {
    this.#away = false
    process.stdin.setRawMode(true)
    process.stdin.resume()
    process.stdout.write('\x1b[?1049h\x1b[?25l\x1b[?7l')
    this.#clear()
  }

  #leave(): void {
    if (this.#away) return
    this.#away = true
    process.stdout.write('\x1b[?7h\x1b[?25h\x1b[?1049l')
    process.stdin.setRawMode(false)
  }

  #clear(): void {
    if (this.#away) return
    this.#shown = []
    process.stdout.write('\x1b[2J')
    this.draw()
  }

  #rows(): TopRow[] {
    return arrange(this.#seen.rows, this.#view)
  }

  draw(): void {
    if (this.#away) return
    const width = columns()
    const height = process.stdout.rows || 24
    const rows = this.#rows()
    const room = Math.max(1, height - 3)
    if (rows.every(row => row.pid !== this.#selected)) this.#selected = rows[0]?.pid
    const at = rows.findIndex(row => row.pid === this.#selected)
    this.#first = Math.max(0, Math.min(this.#first, at, rows.length - room))
    if (at >= this.#first + room) this.#first = at - room + 1
    const waiting = this.#flags.sample ? this.#seen.waiting : 0
    const lines = [
      summaryLine(rows, this.#seen.hidden, waiting).slice(0, width),
      paint('inverse', headLine(this.#view, width)),
    ]
    for (const row of rows.slice(this.#first, this.#first + room)) {
      const line = rowLine(row, width)
      if (row.pid === this.#selected) lines.push(paint(['bgBlue', 'white'], line.padEnd(width)))
      else lines.push(row.attached ? paint('green', line) : line)
    }
    while (lines.length < height - 1) lines.push('')
    const foot =
      this.#typing === undefined
        ? this.#helping || this.#view.filter === ''
          ? help
          : `filter: ${this.#view.filter} (/ changes it, Esc ends it)`
        : `/${this.#typing}▏`
    lines.push(paint('dim', foot.slice(0, width)))
    let out = ''
    for (const [i, line] of lines.entries())
      if (line !== this.#shown[i]) out += `\x1b[${i + 1};1H${line}\x1b[K`
    this.#shown = lines
    if (out !== '') process.stdout.write(out)
  }

  #key(text: string, key: Key): void {
    if (this.#away) return
    if (key.ctrl === true && key.name === 'c') return this.#quit()
    if (key.ctrl === true && key.name === 'l') return this.#clear()
    if (this.#typing !== undefined) this.#type(text, key)
    else this.#command(text, key)
    this.draw()
  }

  #type(text: string, key: Key): void {
    const typed = this.#typing ?? ''
    if (key.name === 'return' || key.name === 'escape') {
      this.#view = { ...this.#view, filter: key.name === 'return' ? typed : '' }
      this.#typing = undefined
      return
    }
    this.#typing = key.name === 'backspace' ? typed.slice(0, -1) : typed + stripVTControlCharacters(text)
    this.#view = { ...this.#view, filter: this.#typing }
  }

  #command(text: string, key: Key): void {
    const page = Math.max(1, (process.stdout.rows || 24) - 4)
    const steps: Readonly<Record<string, number>> = {
      up: -1,
      k: -1,
      down: 1,
      j: 1,
      pageup: -page,
      pagedown: page,
      home: Number.NEGATIVE_INFINITY,
      end: Number.POSITIVE_INFINITY,
    }
    const step = steps[key.name ?? '']
    if (step !== undefined) return this.#move(step)
    const pid = this.#selected
    switch (text) {
      case 'q':
        return this.#quit()
      case 's': {
        const next = (sorts.indexOf(this.#view.sort) + 1) % sorts.length
        this.#view = { ...this.#view, sort: sorts[next] ?? 'anonymous' }
        return
      }
      case 'r':
        this.#view = { ...this.#view, reverse: !this.#view.reverse }
        return
      case '/':
        this.#typing = this.#view.filter
        return
      case 'h':
      case '?':
        this.#helping = !this.#helping
        return
      case 'e':
        if (pid !== undefined && this.#flags.sample) this.#estimates.hurry(pid)
        return
      case 'E':
        if (this.#flags.sample) this.#estimates.hurryAll()
        return
      case 'a':
        if (pid !== undefined) void this.#hand('audit', String(pid))
        return
      case 't':
        if (pid !== undefined) void this.#hand('attach', String(pid), '--once')
        return
      case 'd':
        if (pid !== undefined) void this.#hand('detach', String(pid))
        return
      default:
        if (key.name === 'escape') this.#view = { ...this.#view, filter: '' }
    }
  }

  #move(step: number): void {
    const rows = this.#rows()
    const at = rows.findIndex(row => row.pid === this.#selected)
    this.#selected = rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.pid
  }

  // Another command gets the terminal, and a key brings the table back.
  async #hand(...words: string[]): Promise<void> {
    this.#leave()
    const state = this.#flags.state === undefined ? [] : ['--state', this.#flags.state]
    const launcher = fileURLToPath(new URL('../../bin/lethe', import.meta.url))
    print(paint('bold', `lethe ${words.join(' ')}`))
    process.stdin.pause()
    const child = spawn(launcher, [...words, ...state], { stdio: 'inherit' })
    await new Promise(resolve => {
      child.once('exit', resolve)
      child.once('error', resolve)
    })
    process.stdout.write(paint('dim', 'any key goes back to the table '))
    process.stdin.setRawMode(true)
    process.stdin.resume()
    await new Promise(resolve => process.stdin.once('keypress', resolve))
    this.#enter()
    this.#seen = await this.#looker.look()
    this.draw()
  }
}
