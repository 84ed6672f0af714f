/**
 * A command that runs with the recorder (shim/record.c) in it.
 *
 *   start: the recorder is compiled if need be, the command gets LD_PRELOAD, and a folder for the tables of its processes
 *   while it runs: who has grown and now stands still is looked at; who is about to free much, or to end, waits until it was
 *   at the end: of each process its looks, put together
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExplainProcessOptions } from '../explain/process.ts'
import { Seen } from '../pager/watch.ts'
import type { SeenFile } from '../process/candidates.ts'
import { foreground } from '../process/foreground.ts'
import { preloading, preloadLibrary } from '../process/preload.ts'
import { memoryFigures } from '../process/target.ts'
import { findSites, mergeLooks, type SitesReport } from './sites.ts'
import { Table } from './table.ts'
import { removeFolder } from '../sys/folder.ts'

const period = 50
/** Looks at a process are for anonymous memory from this size on. */
const WORTHWHILE = 8 << 20
/** Without being asked, we look at one that has grown by a quarter and this much, and has stood still for so many periods. */
const GROWN = 16 << 20
const STILL = 20
/** A table takes some MB of the file system that it is on, and more if there are millions of blocks. */
const ROOM = 1 << 30

const sources = ['record.c', 'table.h', 'unwind.h', 'python.h'].map(name =>
  fileURLToPath(new URL(`./shim/${name}`, import.meta.url)),
)

/** Where the tables are: in memory if it has room for them. */
function folderForTables(): string {
  let base = tmpdir()
  try {
    const { bavail, bsize } = statfsSync('/dev/shm')
    if (bavail * bsize >= ROOM) base = '/dev/shm'
  } catch {
    // not there: then on a disk
  }
  return mkdtempSync(join(base, 'lethe-sites-'))
}

/** What is asked of V8 so that its own functions have names; other programs do not look at it. */
const nodeOptions = '--perf-basic-prof --interpreted-frames-native-stack'

export interface Recording {
  /** What a command must be started with. */
  readonly environment: NodeJS.ProcessEnv
  /** Its processes that are recorded now, and their tables. */
  tables(): Map<number, Table>
  close(): void
}

/** Prepares a recording. With `wait`, processes wait to be looked at before much memory goes. Throws PreloadError. */
export function openRecording(wait: boolean): Recording {
  const library = preloadLibrary('sites', sources)
  const folder = folderForTables()
  const open = new Map<number, Table>()
  const environment = {
    ...preloading(library),
    LETHE_SITES: folder,
    NODE_OPTIONS: [process.env['NODE_OPTIONS'], nodeOptions].filter(Boolean).join(' '),
    ...(wait ? { LETHE_SITES_WATCHER: String(process.pid) } : {}),
  }
  return {
    environment,
    tables() {
      for (const name of readdirSync(folder)) {
        const pid = Number(/^(\d+)\.sites$/.exec(name)?.[1])
        if (pid > 0 && !open.has(pid)) open.set(pid, new Table(join(folder, name)))
      }
      return open
    },
    close() {
      for (const [pid, table] of open) {
        table.close()
        rmSync(`/tmp/perf-${pid}.map`, { force: true })
      }
      removeFolder(folder)
    },
  }
}

export interface Recorded {
  /** The command's exit code, 128 + n when signal n ended it. */
  readonly code: number
  /** One for each process that had enough memory; the one that explains most first. */
  readonly reports: readonly SitesReport[]
}

interface Growth {
  live: number
  still: number
}

/** Runs a command to its end, with this process's streams. Throws PreloadError; rejects when the command can't be started. */
export async function recordSites(
  words: readonly string[],
  options: ExplainProcessOptions = {},
): Promise<Recorded> {
  const recording = openRecording(true)
  const seen = new Seen(process.pid)
  const files: SeenFile[] = []
  const reports = new Map<number, SitesReport>()
  const growths = new Map<number, Growth>()

  const look = (pid: number, table: Table): void => {
    const header = table.header()
    if (header === undefined) return
    if ((memoryFigures(pid)?.anonymous ?? 0) >= WORTHWHILE) {
      files.push(...seen.drain())
      try {
        const report = findSites(pid, table, { ...options, seen: files })
        const before = reports.get(pid)
        reports.set(pid, before === undefined ? report : mergeLooks(before, report))
      } catch {
        // it ended meanwhile
      }
    }
    table.looked(header)
  }
  const watch = (): void => {
    files.push(...seen.drain())
    for (const [pid, table] of recording.tables()) {
      const header = table.header()
      if (header === undefined) continue
      const growth = growths.get(pid) ?? { live: 0, still: 0 }
      growths.set(pid, growth)
      growth.still = Math.abs(header.live - growth.live) < 1 << 20 ? growth.still + 1 : 0
      growth.live = header.live
      const grown = header.live > header.looked * 1.25 + GROWN && growth.still >= STILL
      if (header.waits || grown) look(pid, table)
    }
  }

  const timer = setInterval(watch, period)
  try {
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'inherit', env: recording.environment })
    const code = await foreground(child)
    return {
      code,
      reports: [...reports.values()].toSorted((a, b) => b.totals.explained - a.totals.explained),
    }
  } finally {
    clearInterval(timer)
    recording.close()
  }
}
