// Finds, in the code that a process has mapped, the two instruction sequences that injection needs:
// `syscall; ret`, and the C library's `mov $15,%rax; syscall` (its return from signal handlers).
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { ProcessError } from './errors.ts'

/** Addresses in the target. */
export interface Gadgets {
  readonly syscallReturn: number
  readonly sigreturn: number
}

const syscallReturn = Buffer.from([0x0f, 0x05, 0xc3])
const sigreturns = [
  Buffer.from([0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05]), // glibc, musl
  Buffer.from([0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05]),
]

/** Looks through the executable mappings, C library first. Throws ProcessError `refused` when one is missing. */
export function findGadgets(pid: number): Gadgets {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .map(line => /^([0-9a-f]+)-([0-9a-f]+) (..)(.)\S* \S+ \S+ \S+\s*(.*)$/.exec(line))
    .filter(m => m !== null && m[4] === 'x' && !(m[5] as string).startsWith('[vsyscall'))
    .map(m => ({ start: parseInt(m?.[1] ?? '', 16), end: parseInt(m?.[2] ?? '', 16), name: m?.[5] ?? '' }))
  const rank = (name: string): number => (/libc[.-]|ld-musl/.test(name) ? 0 : name.startsWith('/') ? 1 : 2)
  maps.sort((a, b) => rank(a.name) - rank(b.name))
  const mem = openSync(`/proc/${pid}/mem`, 'r')
  let call = 0
  let back = 0
  try {
    const block = Buffer.allocUnsafe(4 << 20)
    for (const map of maps) {
      if (rank(map.name) === 2) continue // code that the program made itself can vanish
      for (let at = map.start; at < map.end && (call === 0 || back === 0); at += block.length - 16) {
        const n = readSome(mem, block, Math.min(block.length, map.end - at), at)
        const bytes = block.subarray(0, n)
        if (call === 0) call = found(at, bytes.indexOf(syscallReturn))
        for (const s of sigreturns) if (back === 0) back = found(at, bytes.indexOf(s))
      }
      if (call !== 0 && back !== 0) return { syscallReturn: call, sigreturn: back }
    }
  } finally {
    closeSync(mem)
  }
  throw new ProcessError(
    'refused',
    `Process ${pid} has no code that a system call can be injected with safely (no C library mapped)`,
  )
}

const found = (at: number, index: number): number => (index < 0 ? 0 : at + index)

function readSome(fd: number, into: Buffer, length: number, at: number): number {
  try {
    return readSync(fd, into, 0, length, at)
  } catch {
    return 0
  }
}
