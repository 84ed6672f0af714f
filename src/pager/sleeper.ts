// The sleeper: what a pager with nothing to do becomes. It executes a program of one page in its own place, made here, which keeps its pid and
// polls what the pager has polled. When a fault or an event waits to be read, somebody wants to write a backing or asks a question,
// when the target has ended or its memory has grown, it ends, and its supervisor starts a successor, which adopts. If the supervisor
// has died it becomes one; and if it was dying just then, and starts nobody, a child of the sleeper's does. The keeper (keeper.ts) stays as it was, and has all descriptors.
//
//   again: poll(what it watches, 1 s) > 0 → wake · another parent? → wake · anonymous memory from /proc/PID/statm: too much? → wake
//          long enough? → wake · → again
//   wake: the same parent → fork; exit_group(75)
//     the child, which has no descriptor but the parent's: does that end within 5 s → alone, saying so; exit_group(0)
//   alone: close on exec all that it watches · unblock signals · execve(supervisor) · exit_group(75)
import * as fds from '../sys/fd.ts'
import { openSync } from 'node:fs'
import { must } from '../sys/errno.ts'
import { arena, call, nr, putAddress } from '../sys/ffi.ts'
import { hex } from './keeper.ts'

/** When it wakes even if nobody wants anything. */
export interface Alarm {
  /** Bytes of anonymous memory of the target: at once from the first on, after two minutes from the second on. */
  readonly most: number
  readonly some: number
  /** After so long; 0: never. */
  readonly seconds: number
}

/** A place in the code, or a jump (x86-64, with 32 bits to go) to one. */
type Part = string | { readonly at: string } | { readonly jump: string; readonly to: string }

const tick = 1
const patience = 120
/** How long somebody looks after a supervisor that is to start a successor, milliseconds. */
const guarding = 5000
const [jne, jg, jle, jae, jb, ja, jmp, subroutine] = [
  '0f85',
  '0f8f',
  '0f8e',
  '0f83',
  '0f82',
  '0f87',
  'e9',
  'e8',
] as const

function assemble(parts: readonly Part[]): string {
  const places = new Map<string, number>()
  const length = (part: Part): number =>
    typeof part === 'string' ? part.length / 2 : 'at' in part ? 0 : part.jump.length / 2 + 4
  let end = 0
  for (const part of parts) {
    if (typeof part !== 'string' && 'at' in part) places.set(part.at, end)
    end += length(part)
  }
  let text = ''
  for (const part of parts) {
    if (typeof part === 'string') text += part
    else if ('jump' in part) {
      const far = Buffer.alloc(4)
      far.writeInt32LE((places.get(part.to) as number) - text.length / 2 - length(part))
      text += part.jump + far.toString('hex')
    }
  }
  return text
}

const word = (n: number): string => hex(n).slice(0, 8)
const half = (n: number): string => hex(n).slice(0, 4)
const pages = (bytes: number): number => Math.min(0x7fff_ffff, Math.ceil(bytes / 4096))

const base = 0x40_0000
const headers = 120
/** Room for the code; what it works with follows. */
const dataAt = 1024

/** An ELF file with one segment, which is loaded at `base`: code behind the headers, data from `dataAt` on. */
function program(code: string, data: Uint8Array): Uint8Array {
  const size = dataAt + data.length
  const elf =
    '7f454c46020101000000000000000000' +
    `0200${half(62)}${word(1)}${hex(base + headers)}${hex(64)}${hex(0)}${word(0)}` +
    `${half(64)}${half(56)}${half(1)}${half(64)}${half(0)}${half(0)}` +
    `${word(1)}${word(7)}${hex(0)}${hex(base)}${hex(base)}${hex(size)}${hex(size)}${hex(4096)}`
  const file = new Uint8Array(size)
  const text = Buffer.from(elf + code, 'hex')
  if (text.length > dataAt) throw new Error(`the sleeper's code is ${text.length} bytes long`)
  file.set(text)
  file.set(data, dataAt)
  return file
}

interface Waking {
  readonly target: number
  /** Descriptors that wake it when they can be read. */
  readonly watched: readonly number[]
  /** A listening socket, which does too. */
  readonly listening: number
  /** The supervisor if it is our parent; 0: it is not. */
  readonly supervisor: number
  /** What starts a supervisor. */
  readonly command: readonly string[]
  readonly alarm: Alarm
}

/** Becomes the sleeper. Returns only if that can't be: a negative errno. */
export function becomeSleeper({ target, watched, listening, supervisor, command, alarm }: Waking): number {
  const statm = openSync(`/proc/${target}/statm`, 'r')
  const polled = [must(fds.pidfdOpen(target), 'pidfd_open'), ...watched, listening]
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`)
  const words = command.map(bytes)
  const environment = Object.entries(process.env)
    .filter(([name]) => !name.startsWith('LETHE_SUPERVISED') && name !== 'LETHE_BEFORE')
    .map(([name, value]) => bytes(`${name}=${value ?? ''}`))
  environment.push(bytes('LETHE_BEFORE=75'))
  const pidfd = supervisor > 0 ? fds.pidfdOpen(supervisor) : -1
  // If it has died, it is as if there had been none.
  const parent = pidfd < 0 ? 0 : supervisor
  const guard = pidfd < 0 ? must(fds.pidfdOpen(process.pid), 'pidfd_open') : pidfd
  // name 0 · no signals 16 · buffer 24 · the parent's descriptor 120 · what is polled 128 · pointers · strings
  const strings = [...words, ...environment]
  const pointers = 128 + 8 * polled.length
  let at = pointers + 8 * (strings.length + 2)
  const data = new Uint8Array(at + strings.reduce((sum, one) => sum + one.length, 0))
  const u32 = new Uint32Array(data.buffer, 0, Math.floor(at / 4))
  data.set(bytes('lethe-sleeper'))
  u32[30] = guard
  u32[31] = 1 // POLLIN
  polled.forEach((fd, i) => {
    u32[32 + 2 * i] = fd
    u32[33 + 2 * i] = 1 // POLLIN
  })
  const address = (offset: number): string => hex(base + dataAt + offset)
  let slot = pointers
  for (const list of [words, environment]) {
    for (const one of list) {
      data.set(one, at)
      putAddress(u32, slot / 4, base + dataAt + at)
      at += one.length
      slot += 8
    }
    slot += 8 // the null that ends them
  }
  // The 5: 76 says that the parent has ended, perhaps because all is done (main.ts).
  const digit = at - 2
  const path = pointers + 8 * (strings.length + 2)
  const code = assemble([
    `bf0f00000048be${address(0)}b89d0000000f05`, // prctl(PR_SET_NAME)
    '4531ed', // r13d: seconds
    { at: 'again' },
    `48bf${address(128)}be${word(polled.length)}ba${word(tick * 1000)}b8070000000f0585c0`,
    { jump: jg, to: 'wake' },
    `b86e0000000f053d${word(parent === 0 ? process.ppid : parent)}`, // getppid
    { jump: jne, to: 'wake' },
    `bf${word(statm)}48be${address(24)}ba600000004d31d2b8110000000f0585c0`, // pread
    { jump: jle, to: 'wake' },
    `48be${address(24)}`,
    { jump: subroutine, to: 'number' },
    { jump: subroutine, to: 'number' },
    '4989c0', // r8: resident
    { jump: subroutine, to: 'number' },
    `4929c04981f8${word(pages(alarm.most))}`, // less what is shared
    { jump: jae, to: 'wake' },
    `4183c5${hex(tick).slice(0, 2)}4181fd${word(alarm.seconds === 0 ? 0xffff_ffff : alarm.seconds)}`,
    { jump: jae, to: 'wake' },
    `4181fd${word(patience)}`,
    { jump: jb, to: 'again' },
    `4981f8${word(pages(alarm.some))}`,
    { jump: jb, to: 'again' },
    { at: 'wake' },
    `b86e0000000f053d${word(parent)}`,
    { jump: jne, to: 'alone' },
    'b8390000000f0585c0', // fork
    { jump: jne, to: 'end' },
    `bf03000000be${word(guard - 1)}31d2b8b40100000f05`, // close_range: all but the guard
    `bf${word(guard + 1)}beffffffff31d2b8b40100000f05`,
    `48bf${address(120)}be01000000ba${word(guarding)}b8070000000f0585c0`, // poll
    { jump: jle, to: 'done' },
    `48b8${address(digit)}c60036`,
    { jump: jmp, to: 'alone' },
    { at: 'done' },
    '31ffb8e70000000f05', // exit_group(0)
    { at: 'end' },
    'bf4b000000b8e70000000f05', // exit_group(75)
    { at: 'alone' },
    `48bb${address(120)}41bc${word(1 + polled.length)}`, // rbx: the guard and what is polled; r12d: how much of it
    { at: 'next' },
    '8b3bbe02000000ba01000000b8480000000f054883c30841ffcc', // fcntl(F_SETFD, FD_CLOEXEC)
    { jump: jne, to: 'next' },
    `bf${word(statm)}be02000000ba01000000b8480000000f05`,
    `b80e000000bf0200000048be${address(16)}31d241ba080000000f05`, // sigprocmask(SETMASK, none)
    `48bf${address(path)}48be${address(pointers)}48ba${address(pointers + 8 * (words.length + 1))}b83b0000000f05`, // execve
    { jump: jmp, to: 'end' },
    { at: 'number' }, // the number at rsi, in rax; rsi behind it
    '31c0',
    { at: 'digit' },
    '0fb60e48ffc683e93083f909',
    { jump: ja, to: 'read' },
    '488d0480488d0441',
    { jump: jmp, to: 'digit' },
    { at: 'read' },
    'c3',
  ])
  const file = program(code, data)
  const memory = arena(4096 + file.length)
  memory.bytes.set(bytes('lethe-sleeper'))
  const name = memory.address
  const memfd = call(nr.memfd_create, name, 0x11 /* MFD_CLOEXEC | MFD_EXEC */)
  if (memfd < 0) return memfd
  memory.bytes.set(file, 4096)
  must(call(nr.pwrite64, memfd, memory.address + 4096, file.length, 0), 'pwrite')
  // argv: its name; no environment; an empty path
  putAddress(memory.u32, 64, name)
  fds.keepFromChildren()
  fds.leaveOpen([0, 1, 2, statm, guard, ...polled])
  // All signals but SIGTERM, which ends it as it ends the pager.
  memory.u32.fill(0xffff_ffff, 80, 82)
  memory.u32[80] = 0xffff_ffff & ~(1 << 14)
  const mask = memory.address + 320
  call(nr.rt_sigprocmask, 2, mask, mask + 8, 8)
  // Who came a moment too late to be heard comes again, and need not wake us.
  for (let late = 0; late >= 0; ) {
    late = call(nr.accept4, listening)
    if (late >= 0) fds.close(late)
  }
  const failed = call(
    nr.execveat,
    memfd,
    memory.address + 640,
    memory.address + 256,
    memory.address + 272,
    0x1000,
  )
  call(nr.rt_sigprocmask, 2, mask + 8, 0, 8)
  fds.close(guard)
  return failed
}
