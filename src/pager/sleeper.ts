// The sleeper: what stays of a pager that has nothing to do. A keeper (keeper.ts) that also watches: when a fault or an event waits to be
// read, somebody wants to write a backing, asks a question, or the target has ended, it starts a supervisor, whose pager adopts.
//
//   again: poll(what it watches, for ever) < 0 → again · the target has ended, and this is not the first time → end
//   vfork: unblock signals · execve(supervisor) · exit          parent: poll(nothing, 10 s) → again
//   end: exit_group
//
// A successor that has come to serve ends it. If none has come in 10 s it tries once more: what it waits for still waits.
import * as fds from '../sys/fd.ts'
import { must } from '../sys/errno.ts'
import { putAddress } from '../sys/ffi.ts'
import { bareData, bareMemory, hex, type Named, startBare } from './keeper.ts'

/** A place in the code, or a jump (x86-64, with 32 bits to go) to one. */
type Part = string | { readonly at: string } | { readonly jump: string; readonly to: string }

const je = '0f84'
const jne = '0f85'
const js = '0f88'
const jmp = 'e9'

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

/**
 * Starts the sleeper of the process `target`. It watches the descriptors `watched` of ours, and starts `command` with our environment.
 */
export function startSleeper(target: number, watched: readonly number[], command: readonly string[]): Named {
  const polled = [must(fds.pidfdOpen(target), 'pidfd_open'), ...watched]
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`)
  const words = command.map(bytes)
  const environment = Object.entries(process.env)
    .filter(([name]) => name !== 'LETHE_SUPERVISED')
    .map(([name, value]) => bytes(`${name}=${value ?? ''}`))
  const strings = [...words, ...environment]
  const pointers = bareData + 8 * polled.length
  const mask = pointers + 8 * (strings.length + 2)
  const text = mask + 8
  const total = strings.reduce((sum, one) => sum + one.length, 0)
  const memory = bareMemory(text + total)
  polled.forEach((fd, i) => {
    memory.u32[bareData / 4 + 2 * i] = fd
    memory.u32[bareData / 4 + 2 * i + 1] = 1 // POLLIN
  })
  const { address } = memory
  let at = text
  let slot = pointers
  const put = (list: readonly Uint8Array[]): number => {
    const first = address + slot
    for (const one of list) {
      memory.bytes.set(one, at)
      putAddress(memory.u32, slot / 4, address + at)
      at += one.length
      slot += 8
    }
    slot += 8 // the null that ends them
    return first
  }
  const path = address + text
  const argv = put(words)
  const envp = put(environment)
  const poll = `48bf${hex(address + bareData)}` // mov rdi
  const code = assemble([
    '4531e4', // r12d: whether a supervisor has been started
    { at: 'again' },
    `${poll}be${word(polled.length)}baffffffffb8070000000f0585c0`,
    { jump: js, to: 'again' },
    `48b8${hex(address + bareData)}6683780600`, // is there anything of the target's pidfd?
    { jump: je, to: 'wake' },
    '4585e4',
    { jump: jne, to: 'end' },
    { at: 'wake' },
    '41bc01000000',
    'b838000000bf1141000031f631d24d31d24d31c00f0585c0', // clone(VM | VFORK | SIGCHLD)
    { jump: je, to: 'child' },
    `${poll}31f6ba${word(10_000)}b8070000000f05`,
    { jump: jmp, to: 'again' },
    { at: 'child' },
    `b80e000000bf0200000048be${hex(address + mask)}31d241ba080000000f05`, // sigprocmask(SETMASK, none)
    `48bf${hex(path)}48be${hex(argv)}48ba${hex(envp)}b83b0000000f05`, // execve
    'bf7f000000b83c0000000f05', // exit(127)
    { at: 'end' },
    '31ffb8e70000000f05',
  ])
  fds.keepFromChildren()
  fds.shareStandard()
  return startBare(memory, 'lethe-sleeper', code)
}
