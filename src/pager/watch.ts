// `lethe run`: the pager is there before the command is. It notes which files the command and its descendants open, and
// attaches when there is enough memory to be worth it. Until then it is untouched: not traced, not registered.
//
// The queue of opens is read every 100 ms; a process that lived shorter than that can't be told to be a descendant,
// and its files are not noted. Nothing depends on that: files are guesses.
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import type { SeenFile } from '../process/candidates.ts'
import { memoryFigures, startTime } from '../process/target.ts'
import { exitNow } from '../sys/ffi.ts'
import { fanotifyInit, fileSystems, markOpens, readOpens } from '../sys/fanotify.ts'
import { socketPath } from './client.ts'
import type { PagerOptions } from './controller.ts'
import { report } from './report.ts'
import { removeFolder } from '../sys/folder.ts'

const interval = 100
const smallest = 4096
const mostFiles = 10_000

/** Files that were seen opened. */
export class Seen {
  readonly #pid: number
  readonly #group: number
  readonly #family = new Map<number, boolean>()
  readonly #known = new Set<string>()
  #fresh: SeenFile[] = []

  constructor(pid: number) {
    this.#pid = pid
    this.#group = fanotifyInit()
    if (this.#group >= 0) for (const at of fileSystems()) markOpens(this.#group, at)
  }

  /** The files that have been opened since the last call. */
  drain(): SeenFile[] {
    if (this.#group < 0) return []
    // Pids come back as other processes.
    this.#family.clear()
    readOpens(
      this.#group,
      pid => this.#descends(pid),
      path => this.#add(path),
    )
    const fresh = this.#fresh
    this.#fresh = []
    return fresh
  }

  #add(path: string): void {
    if (this.#known.has(path) || this.#known.size >= mostFiles || /^\/(proc|sys|dev)\//.test(path)) return
    this.#known.add(path)
    try {
      const stat = statSync(path)
      if (stat.isFile() && stat.size >= smallest) this.#fresh.push({ path, via: 'opened' })
    } catch {
      // gone already
    }
  }

  #descends(pid: number): boolean {
    if (pid === this.#pid) return true
    if (pid <= 1) return false
    const known = this.#family.get(pid)
    if (known !== undefined) return known
    let parent = 0
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    } catch {
      // it has ended
    }
    const descends = this.#descends(parent)
    this.#family.set(pid, descends)
    return descends
  }
}

/**
 * Says `waiting`, and resolves when the process has `options.waitFor` bytes of anonymous memory. Ends this process when the target ends, or
 * when somebody asks for `detach`.
 */
export function watch(
  pid: number,
  directory: string,
  options: PagerOptions,
  say: (line: object) => void,
): Promise<Seen> {
  const seen = new Seen(pid)
  const started = startTime(pid)
  const bytes = options.waitFor ?? 0
  const waiting = { type: 'waiting', pid, pager: process.pid }
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = socketPath(directory)
  rmSync(path, { force: true })
  const leave = (): void => {
    report(options.report, pid, 'ended', undefined)
    rmSync(`${directory}.log`, { force: true })
    removeFolder(directory)
    exitNow(0)
  }
  return new Promise(resolve => {
    const server = createServer(socket => {
      socket.on('error', () => {})
      createInterface({ input: socket }).on('line', line => {
        const { ask } = JSON.parse(line) as { ask: string }
        if (ask !== 'detach') socket.write(`${JSON.stringify(waiting)}\n`)
        else socket.end(`${JSON.stringify({ type: 'detached', pid })}\n`, leave)
      })
    })
    const pending: SeenFile[] = []
    let before = 0
    const timer = setInterval(() => {
      if (startTime(pid) !== started) return leave()
      pending.push(...seen.drain())
      const { anonymous } = memoryFigures(pid) ?? { anonymous: 0 }
      // Not while it still grows quickly: what is attached to later is verified once instead of twice.
      const growing = anonymous > before * 1.1
      before = anonymous
      if (anonymous < bytes || growing) return
      clearInterval(timer)
      server.close()
      const later = seen.drain.bind(seen)
      seen.drain = () => [...pending.splice(0), ...later()]
      resolve(seen)
    }, interval)
    server.listen(path, () => say(waiting))
  })
}
