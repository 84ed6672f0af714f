// WASI preview 1, our own: the host side of every call of a guest.
//
//   guest ── call ──> guard (errno, observer) ──> Wasi's function ──> node:fs
//                                                       └── GuestMemory for all that is read and written there
//
// It runs on the guest's thread and waits like a system call does. Calls on descriptors are in wasi-files.ts, calls on
// paths in wasi-paths.ts; here are the others, and the table that says what each is to somebody who records a run.
import { Descriptors, type Grant, granted, type Reader, standard, type Writer } from './descriptors.ts'
import { errno, errnoOf } from './errno.ts'
import type { GuestMemory } from './memory.ts'
import { clockResolution, clockTime, poll } from './wasi-clocks.ts'
import { fileCalls } from './wasi-files.ts'
import { pathCalls } from './wasi-paths.ts'

/**
 * repeatable: the same arguments give the same answer in every run with these options.
 * recordable: the answer and what is written into the memory can be kept, and given again instead of the call.
 * not: it can't be had again.
 */
export type CallKind = 'repeatable' | 'recordable' | 'not'

export type WasiValue = number | bigint
export type WasiFunction = (...args: never[]) => number | undefined

export interface WasiOptions {
  /** The first is the program's name. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly dirs: readonly Grant[]
  readonly stdin: number | Reader
  readonly stdout: number | Writer
  readonly stderr: number | Writer
}

/** Hears of each call: before it with its arguments, after it with what it answered. */
export interface CallObserver {
  before?(name: string, args: readonly WasiValue[]): void
  after?(name: string, args: readonly WasiValue[], result: number | undefined): void
}

/** The guest has ended itself. Thrown through it. */
export class GuestExit extends Error {
  override readonly name = 'GuestExit'
  readonly exitCode: number
  constructor(exitCode: number) {
    super(`exit ${exitCode}`)
    this.exitCode = exitCode
  }
}

/** What the calls share. */
export interface Host {
  readonly memory: () => GuestMemory
  readonly descriptors: Descriptors
}

const recordable = `clock_res_get clock_time_get fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags
  fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_pwrite fd_read fd_readdir
  fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link path_open
  path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff random_get`
const repeatable = `args_get args_sizes_get environ_get environ_sizes_get fd_prestat_get fd_prestat_dir_name proc_exit proc_raise
  sched_yield sock_accept sock_recv sock_send sock_shutdown`

/** What each call of the interface is to a recorder. Any other import is 'not'. */
export const callKinds: ReadonlyMap<string, CallKind> = new Map<string, CallKind>([
  ...recordable.split(/\s+/).map(name => [name, 'recordable'] as const),
  ...repeatable.split(/\s+/).map(name => [name, 'repeatable'] as const),
])

export class Wasi {
  readonly descriptors: Descriptors = new Descriptors()
  readonly #options: WasiOptions
  #memory: GuestMemory | undefined

  /** Throws what opening the granted directories throws. */
  constructor(options: WasiOptions) {
    this.#options = options
    const { stdin, stdout, stderr, dirs } = options
    this.descriptors.add(standard(stdin, 0))
    this.descriptors.add(standard(stdout, 1))
    this.descriptors.add(standard(stderr, 2))
    for (const dir of dirs) this.descriptors.add(granted(dir))
  }

  /** The guest's memory, which there is only after its instance. */
  attach(memory: GuestMemory): void {
    this.#memory = memory
  }

  /** The functions by name, to import as `wasi_snapshot_preview1`. */
  imports(observer?: CallObserver): Record<string, WasiFunction> {
    const host: Host = {
      memory: () => {
        if (this.#memory === undefined) throw new RangeError('no memory yet')
        return this.#memory
      },
      descriptors: this.descriptors,
    }
    const calls: Record<string, WasiFunction> = {
      ...this.#ownCalls(host.memory),
      ...fileCalls(host),
      ...pathCalls(host),
    }
    return Object.fromEntries(
      Object.entries(calls).map(([name, call]) => [name, guard(name, call, observer)]),
    )
  }

  #ownCalls(memory: () => GuestMemory): Record<string, WasiFunction> {
    const { args, env } = this.#options
    const words = args.map(zeroEnded)
    const variables = Object.entries(env).map(([name, value]) => zeroEnded(`${name}=${value}`))
    const sizes =
      (list: readonly Uint8Array[]): WasiFunction =>
      (count: number, bytes: number) => {
        memory().setU32(count >>> 0, list.length)
        memory().setU32(
          bytes >>> 0,
          list.reduce((sum, one) => sum + one.length, 0),
        )
        return errno.success
      }
    const strings =
      (list: readonly Uint8Array[]): WasiFunction =>
      (pointers: number, bytes: number) => {
        let at = bytes >>> 0
        list.forEach((one, i) => {
          memory().setU32((pointers >>> 0) + i * 4, at)
          memory().set(at, one)
          at += one.length
        })
        return errno.success
      }
    const noSocket: WasiFunction = () => errno.notsup
    return {
      args_get: strings(words),
      args_sizes_get: sizes(words),
      environ_get: strings(variables),
      environ_sizes_get: sizes(variables),
      clock_res_get: (clock: number, out: number) => {
        memory().setU64(out >>> 0, clockResolution(clock))
        return errno.success
      },
      clock_time_get: (clock: number, _precision: bigint, out: number) => {
        memory().setU64(out >>> 0, clockTime(clock))
        return errno.success
      },
      poll_oneoff: (from: number, to: number, count: number, out: number) => {
        const events = poll(memory(), this.descriptors, from >>> 0, to >>> 0, count >>> 0)
        memory().setU32(out >>> 0, events)
        return errno.success
      },
      random_get: (at: number, length: number) => {
        const bytes = Buffer.allocUnsafe(length >>> 0)
        memory().check(at >>> 0, bytes.length)
        for (let done = 0; done < bytes.length; done += 65_536)
          crypto.getRandomValues(bytes.subarray(done, done + 65_536))
        memory().set(at >>> 0, bytes)
        return errno.success
      },
      sched_yield: () => errno.success,
      proc_exit: (code: number) => {
        throw new GuestExit(code >>> 0)
      },
      // There are no signals; those that end a program end it as a shell would tell.
      proc_raise: (signal: number) => {
        throw new GuestExit(128 + (signal & 127))
      },
      sock_accept: noSocket,
      sock_recv: noSocket,
      sock_send: noSocket,
      sock_shutdown: noSocket,
    }
  }
}

const zeroEnded = (text: string): Uint8Array => Buffer.from(`${text}\0`)

// What a call throws and the guest may know of becomes its answer; anything else ends the run.
function guard(name: string, call: WasiFunction, observer: CallObserver | undefined): WasiFunction {
  const run = call as (...args: WasiValue[]) => number | undefined
  const answer = (error: unknown): number => {
    const number = errnoOf(error)
    if (number === undefined) throw error
    return number
  }
  if (observer?.before === undefined && observer?.after === undefined)
    return (...args) => {
      try {
        return run(...args)
      } catch (error) {
        return answer(error)
      }
    }
  return (...args) => {
    observer.before?.(name, args)
    let result: number | undefined
    try {
      result = run(...args)
    } catch (error) {
      result = answer(error)
    }
    observer.after?.(name, args, result)
    return result
  }
}
