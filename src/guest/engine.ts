// What we use of WebAssembly's JavaScript interface: neither es2024 nor @types/node declares it.

export interface EngineMemory {
  readonly buffer: ArrayBuffer
  grow(wasmPages: number): number
}

export interface EngineGlobal {
  value: number | bigint
}

/** A compiled module. */
export type EngineModule = object

export interface EngineInstance {
  readonly exports: Readonly<Record<string, unknown>>
}

export interface ImportEntry {
  readonly module: string
  readonly name: string
  readonly kind: string
}

export type ImportObject = Record<string, Record<string, unknown>>

interface Engine {
  readonly Module: {
    new (bytes: Uint8Array): EngineModule
    imports(module: EngineModule): ImportEntry[]
    exports(module: EngineModule): { readonly name: string; readonly kind: string }[]
  }
  readonly Instance: new (module: EngineModule, imports: ImportObject) => EngineInstance
  readonly Memory: new (size: { initial: number; maximum?: number; shared?: boolean }) => EngineMemory
  readonly CompileError: new () => Error
  readonly RuntimeError: new () => Error
}

/** The engine that we run in. */
export const engine: Engine = (globalThis as unknown as { readonly WebAssembly: Engine }).WebAssembly
