// What this kernel and these privileges allow. Every probe really tries: it makes the call, on a child or on memory
// and files of our own, and undoes it. Nothing is concluded from version numbers where trying is possible.
import { type ChildProcess, spawn } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { errnoName } from './errno.ts'
import * as fds from './fd.ts'
import { fanotifyInit, markOpens } from './fanotify.ts'
import { arena, call, nr } from './ffi.ts'
import { page, readProcess, scanPages } from './memory.ts'
import * as ptrace from './ptrace.ts'
import * as uffd from './uffd.ts'

/** One thing that was tried. */
export interface Capability {
  readonly name: string
  /** `yes`, `no`, or `note`: neither good nor bad. */
  readonly state: 'yes' | 'no' | 'note'
  /** Attach is impossible without it. */
  readonly needed: boolean
  readonly detail: string
  /** What to do about a `no`. */
  readonly remedy?: string
}

const asRoot = 'run lethe as root, or give it CAP_SYS_PTRACE'
const newer = 'take Linux 6.7 or later'
const outside = 'the container or sandbox forbids it: allow the call in its seccomp profile'

const O_CLOEXEC = 0o2000000
const features =
  uffd.feature.pagefaultFlagWp |
  uffd.feature.eventFork |
  uffd.feature.eventRemap |
  uffd.feature.eventRemove |
  uffd.feature.eventUnmap |
  uffd.feature.threadId

const yes = (name: string, detail: string, needed = true): Capability => ({
  name,
  state: 'yes',
  needed,
  detail,
})
const no = (name: string, detail: string, remedy: string, needed = true): Capability => ({
  name,
  state: 'no',
  needed,
  detail,
  remedy,
})
const note = (name: string, detail: string): Capability => ({ name, state: 'note', needed: false, detail })

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

function kernel(): Capability {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const name = 'kernel'
  if (major > 6 || (major === 6 && minor >= 7)) return yes(name, `Linux ${release()}`)
  return no(name, `Linux ${release()}`, newer, false)
}

// A full userfaultfd: its faults may come from inside system calls.
function userfaultfd(): Capability {
  const name = 'userfaultfd'
  const fd = uffd.create(O_CLOEXEC)
  if (fd < 0) {
    const why = errnoName(fd)
    return no(name, why, why === 'EPERM' ? 'run lethe as root' : why === 'ENOSYS' ? outside : newer)
  }
  const done = uffd.api(fd, features)
  fds.close(fd)
  return done < 0
    ? no(name, `no write protection, events or thread ids (${errnoName(done)})`, newer)
    : yes(name, 'full mode, write protection, events fork remap remove unmap, thread ids')
}

function userfaultfdDevice(): Capability {
  const name = '/dev/userfaultfd'
  if (!existsSync(name)) return note(name, 'not there; only targets that are not root need it')
  try {
    const fd = openSync(name, 'r')
    const made = call(nr.ioctl, fd, uffd.IOC_NEW, O_CLOEXEC)
    closeSync(fd)
    if (made < 0) return no(name, errnoName(made), "targets that are not root can't be served", false)
    fds.close(made)
    return yes(name, 'opens', false)
  } catch (error) {
    return no(
      name,
      (error as NodeJS.ErrnoException).code ?? 'fails',
      `give yourself the right to read ${name}`,
      false,
    )
  }
}

function tracing(child: number): Capability {
  const name = 'ptrace'
  const seized = ptrace.seize(child)
  if (seized < 0) return no(name, errnoName(seized), errnoName(seized) === 'ENOSYS' ? outside : asRoot)
  try {
    ptrace.interrupt(child)
    const stopped = ptrace.wait(child, 1000)
    if (stopped.kind !== 'stopped') return no(name, 'a child did not stop', outside)
    const registers = ptrace.getRegisters(child)
    if (typeof registers === 'number') return no(name, `registers: ${errnoName(registers)}`, outside)
    const written = ptrace.setRegisters(child, registers)
    return written < 0
      ? no(name, `registers: ${errnoName(written)}`, outside)
      : yes(name, 'a child was stopped and let go')
  } finally {
    ptrace.detach(child)
  }
}

function descriptors(child: number): Capability {
  const name = 'pidfd_getfd'
  const pidfd = fds.pidfdOpen(child)
  const copy = pidfd < 0 ? pidfd : fds.pidfdGetfd(pidfd, 0)
  if (pidfd >= 0) fds.close(pidfd)
  if (copy < 0) return no(name, errnoName(copy), errnoName(copy) === 'ENOSYS' ? outside : asRoot)
  fds.close(copy)
  return yes(name, "a child's descriptor was duplicated")
}

function remoteRead(child: number): Capability {
  const name = 'process_vm_readv'
  const stack = /^([0-9a-f]+)-([0-9a-f]+) .*\[stack\]$/m.exec(text(`/proc/${child}/maps`) ?? '')
  const end = Number.parseInt(stack?.[2] ?? '0', 16)
  const into = arena(4096)
  const done = readProcess(child, end - 4096, into.address, 4096)
  if (done < 0) return no(name, errnoName(done), errnoName(done) === 'ENOSYS' ? outside : asRoot)
  return yes(name, "a child's stack was read")
}

function pagemapScan(): Capability {
  const name = 'PAGEMAP_SCAN'
  const memory = arena(8192)
  memory.bytes.fill(1)
  const fd = openSync('/proc/self/pagemap', 'r')
  let seen = 0
  const done = scanPages(fd, memory.address, memory.address + 8192, page.present, 0, 0, (start, end) => {
    seen += end - start
  })
  closeSync(fd)
  if (done < 0) return no(name, errnoName(done), newer)
  return seen === 8192 ? yes(name, 'finds our own pages') : no(name, `found ${seen} of 8192 bytes`, newer)
}

function dontUnmap(): Capability {
  const name = 'MREMAP_DONTUNMAP'
  const memory = arena(4096)
  memory.bytes[0] = 7
  const moved = call(nr.mremap, memory.address, 4096, 4096, 1 | 4)
  if (moved < 0) return no(name, errnoName(moved), newer)
  const empty = memory.bytes[0] === 0
  call(nr.munmap, moved, 4096)
  return empty ? yes(name, 'a page was moved away') : no(name, 'the page stayed', newer)
}

function leases(directory: string, what: string): Capability {
  const name = `leases on ${what}`
  const path = join(directory, `.lethe-probe-${process.pid}`)
  try {
    writeFileSync(path, 'probe')
  } catch (error) {
    return note(name, `${directory} is not writable (${(error as NodeJS.ErrnoException).code}); not tried`)
  }
  try {
    const fd = openSync(path, 'r')
    // Nobody else knows the file, so that nobody breaks it.
    const done = fds.lease(fd)
    if (done === 0) fds.unlease(fd)
    closeSync(fd)
    return done === 0
      ? yes(name, `${directory}: granted`, false)
      : no(
          name,
          `${directory}: ${errnoName(done)}`,
          "files on this file system can't serve; copy them to one that gives leases",
          false,
        )
  } finally {
    rmSync(path, { force: true })
  }
}

function fanotify(): Capability {
  const name = 'fanotify'
  const remedy = 'lethe run does not see which files are opened; name them with --backing, or run as root'
  const group = fanotifyInit()
  if (group < 0) return no(name, errnoName(group), remedy, false)
  const marked = markOpens(group, '/')
  fds.close(group)
  return marked < 0 ? no(name, errnoName(marked), remedy, false) : yes(name, 'opens of files are seen', false)
}

function stateWritable(directory: string): Capability {
  const name = 'state directory'
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    accessSync(directory, constants.W_OK)
    return yes(name, directory)
  } catch (error) {
    return no(
      name,
      `${directory}: ${(error as NodeJS.ErrnoException).code}`,
      'name another with --state or $LETHE_STATE',
    )
  }
}

function yama(): Capability {
  const scope = text('/proc/sys/kernel/yama/ptrace_scope')
  if (scope === undefined) return note('Yama', 'not there')
  if (scope === '0' || (scope !== '3' && process.getuid?.() === 0))
    return yes('Yama', `ptrace_scope ${scope}`, false)
  return no(
    'Yama',
    `ptrace_scope ${scope}`,
    scope === '3' ? 'boot with another ptrace_scope: 3 forbids all tracing' : asRoot,
    scope === '3',
  )
}

function ownSeccomp(): Capability {
  const mode = /^Seccomp:\s*(\d)/m.exec(text('/proc/self/status') ?? '')?.[1] ?? '0'
  if (mode === '0') return yes('seccomp', 'none on us', false)
  return note(
    'seccomp',
    `a filter is on us and on what we start, so lethe won't attach to that; other processes may do`,
  )
}

function hugePages(): Capability {
  const mode = /\[(\w+)\]/.exec(text('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1] ?? 'not there'
  return note('huge pages', mode)
}

function zram(): Capability {
  return note('zram', existsSync('/sys/block/zram0') ? 'present' : 'not there; only npm run bench uses it')
}

async function withChild<T>(use: (pid: number) => T): Promise<T> {
  const child: ChildProcess = spawn('/bin/sh', ['-c', 'read line'], { stdio: ['pipe', 'ignore', 'ignore'] })
  try {
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    return use(child.pid as number)
  } finally {
    child.kill('SIGKILL')
  }
}

/** Tries everything. `state` is the state directory. */
export async function probe(state: string): Promise<Capability[]> {
  const architecture = yes('architecture', process.arch)
  const onChild = await withChild(pid => [tracing(pid), descriptors(pid), remoteRead(pid)])
  const writable = stateWritable(state)
  const device = userfaultfdDevice()
  // One of the two ways is enough.
  const direct = { ...userfaultfd(), needed: device.state !== 'yes' }
  return [
    kernel(),
    architecture,
    direct,
    device,
    ...onChild,
    pagemapScan(),
    dontUnmap(),
    writable,
    ...(writable.state === 'yes' ? [leases(state, 'the state directory')] : []),
    leases(process.cwd(), 'the working directory'),
    fanotify(),
    yama(),
    ownSeccomp(),
    hugePages(),
    zram(),
  ]
}
