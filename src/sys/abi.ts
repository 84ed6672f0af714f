// The numbers of the Linux ABI that differ between machines: system call numbers, the registers of a stopped
// thread, and the shape of the signal frame that rt_sigreturn reads. There is x86-64; `machine()` refuses others.
import { SysError } from './errno.ts'

/** System call numbers of one machine. Source: the kernel's `syscall_64.tbl` and `asm-generic/unistd.h`. */
export interface Calls {
  readonly openat: number
  readonly read: number
  readonly write: number
  readonly close: number
  readonly mmap: number
  readonly munmap: number
  readonly mprotect: number
  readonly madvise: number
  readonly mremap: number
  readonly ioctl: number
  readonly pread64: number
  readonly pwrite64: number
  readonly ppoll: number
  readonly epoll_create1: number
  readonly epoll_ctl: number
  /** x86-64 only; 0 elsewhere */
  readonly epoll_wait: number
  readonly dup3: number
  readonly fcntl: number
  readonly fallocate: number
  readonly socketpair: number
  readonly sendmsg: number
  readonly setsockopt: number
  readonly recvmsg: number
  readonly clone: number
  /** x86-64 only; 0 elsewhere */
  readonly arch_prctl: number
  readonly exit: number
  readonly exit_group: number
  readonly wait4: number
  readonly ptrace: number
  readonly prctl: number
  readonly gettid: number
  readonly rt_sigprocmask: number
  readonly rt_sigreturn: number
  readonly sched_setaffinity: number
  readonly getcpu: number
  readonly sched_setscheduler: number
  readonly sched_yield: number
  readonly nanosleep: number
  readonly signalfd4: number
  readonly eventfd2: number
  readonly fanotify_init: number
  readonly fanotify_mark: number
  readonly process_vm_readv: number
  readonly process_vm_writev: number
  readonly memfd_create: number
  readonly execveat: number
  readonly accept4: number
  readonly userfaultfd: number
  readonly pidfd_open: number
  readonly pidfd_getfd: number
  readonly tgkill: number
  readonly restart_syscall: number
  readonly setpriority: number
}

export const x64: Calls = {
  openat: 257,
  read: 0,
  write: 1,
  close: 3,
  mmap: 9,
  munmap: 11,
  mprotect: 10,
  madvise: 28,
  mremap: 25,
  ioctl: 16,
  pread64: 17,
  pwrite64: 18,
  ppoll: 271,
  epoll_create1: 291,
  epoll_ctl: 233,
  epoll_wait: 232,
  dup3: 292,
  fcntl: 72,
  fallocate: 285,
  socketpair: 53,
  sendmsg: 46,
  setsockopt: 54,
  recvmsg: 47,
  clone: 56,
  arch_prctl: 158,
  exit: 60,
  exit_group: 231,
  wait4: 61,
  ptrace: 101,
  prctl: 157,
  gettid: 186,
  rt_sigprocmask: 14,
  rt_sigreturn: 15,
  sched_setaffinity: 203,
  getcpu: 309,
  sched_setscheduler: 144,
  sched_yield: 24,
  nanosleep: 35,
  signalfd4: 289,
  eventfd2: 290,
  fanotify_init: 300,
  fanotify_mark: 301,
  process_vm_readv: 310,
  process_vm_writev: 311,
  memfd_create: 319,
  execveat: 322,
  accept4: 288,
  userfaultfd: 323,
  pidfd_open: 434,
  pidfd_getfd: 438,
  tgkill: 234,
  restart_syscall: 219,
  setpriority: 141,
}

/** Index of each register in `struct user_regs_struct` (27 words of 8 bytes, `NT_PRSTATUS`), x86-64. */
export const reg = {
  r15: 0,
  r14: 1,
  r13: 2,
  r12: 3,
  rbp: 4,
  rbx: 5,
  r11: 6,
  r10: 7,
  r9: 8,
  r8: 9,
  rax: 10,
  rcx: 11,
  rdx: 12,
  rsi: 13,
  rdi: 14,
  orig_rax: 15,
  rip: 16,
  cs: 17,
  eflags: 18,
  rsp: 19,
  ss: 20,
  fs_base: 21,
  gs_base: 22,
} as const

/**
 * System calls that return EINTR after any stop and may then be made again, x86-64: epoll_wait, epoll_pwait,
 * epoll_pwait2, rt_sigtimedwait, semop, semtimedop, io_getevents, and those on sockets with a timeout: read, write, readv,
 * writev, accept, accept4, recvfrom, recvmsg, recvmmsg, sendto, sendmsg.
 */
export const repeatable: ReadonlySet<number> = new Set([
  232, 281, 441, 128, 65, 220, 208, 0, 1, 19, 20, 43, 288, 45, 47, 299, 44, 46,
])

/** Words in `struct user_regs_struct` on x86-64. */
export const regWords = 27

/** The system call numbers of this machine. Throws `SysError` ENOSYS where Lethe does not run yet. */
export function machine(): Calls {
  if (process.platform !== 'linux')
    throw new SysError('ENOSYS', 'machine', `Lethe needs Linux; this is ${process.platform}`)
  if (process.arch !== 'x64')
    throw new SysError('ENOSYS', 'machine', `Lethe runs on x86-64; this is ${process.arch}`)
  return x64
}
