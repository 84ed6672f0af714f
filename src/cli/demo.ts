// lethe demo: an ordinary program holds a file's bytes; its memory goes, its answer stays.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, statfsSync, writeSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { Command } from 'commander'
import { memoryFigures } from '../process/target.ts'
import { examples, options } from './arguments.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { paint, print, printJson, say } from './output.ts'
import { formatSize } from './size.ts'
import { removeFolder } from '../sys/folder.ts'

interface DemoFlags {
  readonly size?: number
  readonly json?: boolean
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'show it: an ordinary program with 300 MB of a file in memory, before and after, and its answer',
    )
    .addOption(options.size('how much the program holds').default(300 << 20, '300M'))
    .addOption(options.json())
    .addHelpText('after', examples([['lethe demo', 'with python3, or node where there is none']]))
    .action(demo)
}

const python = `
import sys, time, zlib
data = open(sys.argv[1], 'rb').read()
for line in sys.stdin:
    began = time.time()
    print(zlib.crc32(data), time.time() - began, flush=True)
`
const javascript = `
const { crc32 } = require('node:zlib')
const data = require('node:fs').readFileSync(process.argv[1])
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  const began = performance.now()
  console.log(crc32(data), (performance.now() - began) / 1000)
})
`

/** A table of orders: no two lines are the same, and it does not compress to nothing. */
function writeTable(path: string, bytes: number): void {
  const fd = openSync(path, 'wx', 0o600)
  let seed = 42
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * n)
  }
  const words = ['amber', 'birch', 'cedar', 'dune', 'ember', 'fern', 'grove', 'heath', 'iris', 'juniper']
  const word = (): string => words[random(words.length)] as string
  for (let written = 0, order = 1; written < bytes; ) {
    let block = ''
    while (block.length < 1 << 20)
      block += `${order++},2026-${1 + random(12)}-${1 + random(28)},${word()}-${word()},${random(1e6) / 100},${random(1e9).toString(36)}\n`
    written += writeSync(fd, block, null, 'latin1')
  }
  closeSync(fd)
}

interface Target {
  readonly child: ChildProcess
  readonly name: string
  /** Lets the program use all its data: the checksum that it computes, and its seconds. */
  use(): Promise<{ answer: string; seconds: number }>
}

async function startTarget(file: string): Promise<Target> {
  const hasPython = spawnSync('python3', ['-c', ''], { stdio: 'ignore' }).status === 0
  const [command, ...words]: [string, ...string[]] = hasPython
    ? ['python3', '-c', python, file]
    : [process.execPath, '-e', javascript, file]
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout as Readable })
  const use = (): Promise<{ answer: string; seconds: number }> =>
    new Promise((resolve, reject) => {
      const failed = (): void =>
        reject(new CommandError(1, `The demo's ${command} ended (${child.signalCode ?? child.exitCode})`))
      child.once('exit', failed)
      lines.once('line', line => {
        child.off('exit', failed)
        const [answer = '', seconds = ''] = line.split(' ')
        resolve({ answer, seconds: Number(seconds) })
      })
      ;(child.stdin as Writable).write('\n')
    })
  return { child, name: hasPython ? 'python3' : 'node', use }
}

/** Throws UsageError where the file or the program that reads it has no room. */
function checkRoom(bytes: number): void {
  const { bavail, bsize } = statfsSync(tmpdir())
  const most = Math.min(bavail * bsize, freemem())
  if (bytes > most)
    throw new UsageError(
      `--size ${formatSize(bytes)}: the demo writes that much to ${tmpdir()}, and a program reads it; here is room for ${formatSize(most)}`,
    )
}

async function demo(flags: DemoFlags): Promise<void> {
  const bytes = flags.size ?? 300 << 20
  checkRoom(bytes)
  const { whyNot } = await import('./doctor.ts')
  const obstacle = await whyNot()
  const folder = mkdtempSync(join(tmpdir(), 'lethe-demo-'))
  let target: Target | undefined
  const clean = (): void => {
    target?.child.kill('SIGKILL')
    removeFolder(folder)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      clean()
      process.kill(process.pid, signal) // no longer caught
    })
  try {
    const file = join(folder, 'orders.csv')
    if (!flags.json) print(`Writing ${formatSize(bytes)} of orders to ${file}`)
    writeTable(file, bytes)
    target = await startTarget(file)
    const first = await target.use()
    if (obstacle === undefined) await show(target, first.answer, flags, join(folder, 'state'))
    else await explainOnly(target, obstacle, flags)
  } finally {
    clean()
  }
}

async function explainOnly(target: Target, obstacle: string, flags: DemoFlags): Promise<void> {
  const { auditProcess, printAudit } = await import('./audit.ts')
  const report = await auditProcess(target.child.pid as number, {})
  if (flags.json) printJson({ type: 'demo', possible: false, reason: obstacle, audit: report }, 2)
  else {
    say(obstacle)
    print('What could be given back:')
    await printAudit(report)
  }
  process.exitCode = exitCode.impossible
}

async function show(target: Target, before: string, flags: DemoFlags, state: string): Promise<void> {
  const { startPager } = await import('../pager/start.ts')
  const pid = target.child.pid as number
  const resident = (): number => memoryFigures(pid)?.anonymous ?? 0
  const began = performance.now()
  const start = resident()
  const tell = (line: string): void => {
    if (!flags.json) print(line)
  }
  tell(
    `${target.name} (process ${pid}) has read it: ${paint('bold', formatSize(start))} of its memory are resident`,
  )
  const pager = await startPager(pid, { state })
  try {
    await pager.ask({ ask: 'settled' }, 600_000)
    const settled = await pager.status()
    const dropped = resident()
    const seconds = (performance.now() - began) / 1000
    const longest = settled?.pauses.longestMs ?? 0
    tell(
      `lethe attached in ${seconds.toFixed(1)} s, the program stood still for ${longest.toFixed(1)} ms at most`,
    )
    tell(
      `now ${paint('green', formatSize(dropped))} are resident; the pager itself takes ${formatSize(settled?.own ?? 0)}`,
    )
    const again = await target.use()
    const used = await pager.status()
    tell(
      `The program used all its data again: ${again.seconds.toFixed(2)} s, ${used?.faults ?? 0} faults; ` +
        `${formatSize(resident())} are resident`,
    )
    const same = again.answer === before
    tell(
      `Checksum before ${before}, after ${again.answer}: ${same ? paint('green', 'the same') : paint('red', 'NOT the same')}`,
    )
    await pager.ask({ ask: 'detach' }, 600_000)
    const last = await target.use()
    const right = same && last.answer === before
    tell(`Detached; the program answers ${last.answer}`)
    if (flags.json)
      printJson(
        {
          type: 'demo',
          possible: true,
          program: target.name,
          before: start,
          after: dropped,
          pager: settled?.own ?? 0,
          seconds,
          longestPauseMs: longest,
          useSeconds: again.seconds,
          faults: used?.faults ?? 0,
          same: right,
        },
        2,
      )
    if (!right)
      throw new CommandError(
        1,
        `The program's answer changed from ${before} to ${again.answer}, ${last.answer}; please report this`,
      )
  } finally {
    await pager.ask({ ask: 'detach' }, 60_000).catch(() => undefined)
  }
}
