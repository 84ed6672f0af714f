// What a process is, before we touch it: whether Lethe can serve it safely, and its own figures of its memory.
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { ProcessError } from './errors.ts'

/** Figures of /proc/PID/status, in bytes. */
export interface MemoryFigures {
  readonly rss: number
  readonly anonymous: number
  readonly swap: number
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

const field = (status: string, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? ''
const kilobytes = (status: string, name: string): number =>
  Number.parseInt(field(status, name) || '0', 10) * 1024

/** Ticks since boot at which the process started: with the pid, its identity. Undefined when it is gone. */
export function startTime(pid: number): number | undefined {
  const stat = text(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A main thread that has ended is a zombie until the others end too.
  const ended = fields[0] === 'X' || (fields[0] === 'Z' && Number(fields[17]) <= 1)
  return ended ? undefined : Number(fields[19])
}

/** Seconds of CPU that a process has used so far, all threads together; 0 when it is gone. */
export function cpuSeconds(pid: number): number {
  const stat = text(`/proc/${pid}/stat`) ?? ''
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100
}

/** Whether no call can be made in a process for now: it is stopped (SIGSTOP, its terminal), or its main thread has ended. */
export function isStopped(pid: number): boolean {
  const stat = text(`/proc/${pid}/stat`) ?? ''
  return /^[TZ]/.test(stat.slice(stat.lastIndexOf(')') + 2))
}

export function memoryFigures(pid: number): MemoryFigures | undefined {
  const status = text(`/proc/${pid}/status`)
  if (status === undefined) return undefined
  return {
    rss: kilobytes(status, 'VmRSS'),
    anonymous: kilobytes(status, 'RssAnon'),
    swap: kilobytes(status, 'VmSwap'),
  }
}

/** Proportional set size of a process, in bytes: what it costs the machine. 0 when it can't be read. */
export function proportionalSize(pid: number): number {
  const rollup = text(`/proc/${pid}/smaps_rollup`)
  return rollup === undefined ? 0 : kilobytes(rollup, 'Pss')
}

/** Command line, on one line. */
export function wholeCommandLine(pid: number): string {
  const words = text(`/proc/${pid}/cmdline`)?.replace(/\0+$/, '').replaceAll('\0', ' ') ?? ''
  const line = words === '' ? `[${text(`/proc/${pid}/comm`)?.trim() ?? '?'}]` : words
  // Anybody can start a program whose words steer a terminal.
  return line.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}/gu, '?')
}

/** The same for a table: at most 80 characters. */
export function commandLine(pid: number): string {
  const line = wholeCommandLine(pid)
  return line.length > 80 ? `${line.slice(0, 79)}…` : line
}

/**
 * Throws ProcessError `refused` (or `gone`, `traced`) with one sentence when the process can't be read, or,
 * with `serve`, can't be served safely. Nothing is touched.
 */
export function checkTarget(pid: number, serve: boolean): void {
  if (!Number.isSafeInteger(pid) || pid <= 0)
    throw new ProcessError('refused', `${pid} is not a process id: give a positive number`)
  const status = text(`/proc/${pid}/status`)
  if (status === undefined || /^[ZX]/.test(field(status, 'State')))
    throw new ProcessError('gone', `No process ${pid} is running; see ps for the ids of those that are`)
  if (Number(field(status, 'Tgid')) !== pid)
    throw new ProcessError('refused', `${pid} is a thread of process ${field(status, 'Tgid')}; give that id`)
  const refuse = (why: string): never => {
    throw new ProcessError('refused', `Process ${pid} can't be served: ${why}`)
  }
  if (pid === process.pid) refuse('it is lethe itself')
  const machine = elfMachine(pid)
  if (machine === undefined) {
    if (field(status, 'VmSize') === '') refuse('it is a kernel thread, which has no memory of its own')
    refuse(
      process.getuid?.() === 0
        ? `its program, /proc/${pid}/exe, can't be read, not even by root`
        : 'you may not read it; run lethe as its user or as root',
    )
  }
  if (machine !== 62) refuse('it is not a 64-bit x86 program')
  if (!serve) return
  for (const ns of ['mnt', 'pid', 'user'] as const) {
    const theirs = link(`/proc/${pid}/ns/${ns}`)
    if (theirs !== undefined && theirs !== link(`/proc/self/ns/${ns}`))
      refuse(`it lives in another ${ns} namespace (a container?); run lethe inside it`)
  }
  if (Number(field(status, 'Seccomp')) !== 0)
    refuse('it runs under seccomp, which may kill it for a system call that we make in it')
  if (kilobytes(status, 'VmPin') > 0)
    refuse('it has memory pinned for devices (VmPin), which they may write behind our back')
  const tracer = Number(field(status, 'TracerPid'))
  if (tracer !== 0)
    throw new ProcessError(
      'traced',
      `Process ${pid} is already traced by process ${tracer} (${commandLine(tracer)}); end that first`,
    )
  directWrites(pid, refuse)
  if (isStopped(pid))
    throw new ProcessError('busy', `Process ${pid} is stopped; let it go on first: kill -CONT ${pid}`)
}

// Writes by devices that outlive the system call: O_DIRECT together with asynchronous I/O.
function directWrites(pid: number, refuse: (why: string) => never): void {
  let direct = ''
  let asynchronous = /\/\[aio\]/.test(text(`/proc/${pid}/maps`) ?? '')
  for (const fd of descriptors(pid)) {
    const name = link(`/proc/${pid}/fd/${fd}`) ?? ''
    if (name === 'anon_inode:[userfaultfd]') refuse('it already has a userfaultfd (a pager of its own?)')
    if (name === 'anon_inode:[io_uring]') asynchronous = true
    const flags = /^flags:\s*(\d+)/m.exec(text(`/proc/${pid}/fdinfo/${fd}`) ?? '')?.[1] ?? '0'
    if ((Number.parseInt(flags, 8) & 0o40000) !== 0) direct = name
  }
  if (direct !== '' && asynchronous)
    refuse(
      `it does asynchronous direct I/O (${direct} is open with O_DIRECT): a device may write its memory at any time`,
    )
}

/** Whether a process has a userfaultfd, ours or another. */
export function hasUserfaultfd(pid: number): boolean {
  return descriptors(pid).some(fd => link(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[userfaultfd]')
}

/** Numbers of a process's open descriptors; none when it is gone. */
export function descriptors(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map(Number)
  } catch {
    return []
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

function elfMachine(pid: number): number | undefined {
  try {
    const fd = openSync(`/proc/${pid}/exe`, 'r')
    try {
      const header = Buffer.alloc(20)
      readSync(fd, header, 0, 20, 0)
      return header[4] === 2 ? header.readUInt16LE(18) : 0
    } finally {
      closeSync(fd)
    }
  } catch {
    return undefined
  }
}
