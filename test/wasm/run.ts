// Runs a WASI program with hosts for what passes import; enough of WASI for a program that only prints.

interface LinearMemory {
  readonly buffer: ArrayBuffer
  grow(wasmPages: number): number
}
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, unknown>> }
}

/** What a host may use; called once the instance is there. */
export interface Instance {
  readonly memory: LinearMemory
  export(name: string): unknown
  global(name: string): { value: number }
  /** Where a byte of the guest is in the memory, if it is not in its own place. */
  limit(translate: (address: number) => number): void
}
export type Hosts = (instance: Instance) => Readonly<Record<string, (...values: number[]) => unknown>>

export interface Run {
  readonly output: string
  readonly exports: Readonly<Record<string, unknown>>
}

class Exit extends Error {}

export function run(bytes: Uint8Array, hosts: Hosts, args: readonly string[] = []): Run {
  let output = ''
  let translate = (address: number): number => address
  const memory = (): LinearMemory => exports.memory as LinearMemory
  const byte = (address: number): number => new Uint8Array(memory().buffer)[translate(address)] as number
  const word = (address: number): number =>
    byte(address) | (byte(address + 1) << 8) | (byte(address + 2) << 16) | (byte(address + 3) << 24)
  const put = (address: number, value: number): void => {
    for (let n = 0; n < 4; n++) new Uint8Array(memory().buffer)[translate(address + n)] = value >>> (8 * n)
  }
  const words = ['guest', ...args].map(text => Buffer.from(`${text}\0`))
  const wasi = {
    args_sizes_get(count: number, size: number) {
      put(count, words.length)
      put(size, Buffer.concat(words).length)
      return 0
    },
    args_get(pointers: number, at: number) {
      let to = at
      for (const [n, text] of words.entries()) {
        put(pointers + 4 * n, to)
        for (const value of text) new Uint8Array(memory().buffer)[translate(to++)] = value
      }
      return 0
    },
    fd_write(_fd: number, pieces: number, count: number, written: number) {
      let total = 0
      for (let n = 0; n < count; n++) {
        const [at, length] = [word(pieces + 8 * n), word(pieces + 8 * n + 4)]
        for (let k = 0; k < length; k++) output += String.fromCharCode(byte(at + k))
        total += length
      }
      put(written, total)
      return 0
    },
    fd_fdstat_get(_fd: number, at: number) {
      for (let n = 0; n < 24; n += 4) put(at + n, n === 0 ? 2 : 0)
      return 0
    },
    fd_close: () => 0,
    fd_seek: () => 29,
    proc_exit() {
      throw new Exit()
    },
  }
  const table: Record<string, (...values: number[]) => unknown> = {}
  const lethe = new Proxy(
    {},
    {
      get:
        (_, name: string) =>
        (...values: number[]) =>
          table[name]?.(...values),
    },
  )
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    wasi_snapshot_preview1: wasi,
    lethe,
  })
  Object.assign(
    table,
    hosts({
      memory: memory(),
      export: name => exports[name],
      global: name => exports[name] as { value: number },
      limit: to => {
        translate = to
      },
    }),
  )
  try {
    ;(exports._start as () => void)()
  } catch (error) {
    if (!(error instanceof Exit)) throw error
  }
  return { output, exports }
}
