/** The hardware of a simulated machine, for traces. See assembly/machine.ts. */
import { instantiate, type WasmMemory } from './index.ts'

export interface MachineExports {
  readonly memory: WasmMemory
  setup(
    withTranslation: number,
    pageBits: number,
    addressBits: number,
    tlb: number,
    itlb: number,
    data: number,
    code: number,
    levels: number,
    tables: number,
    bytes: number,
    throughCaches: number,
    levelTable: number,
    counters: number,
    stampTable: number,
    dirtyTable: number,
    out: number,
    end: number,
  ): void
  enter(pid: number, table: number): void
  /** From now on the frames that are touched are written to `out`. */
  note(out: number): void
  touched(): number
  faultAddress(): bigint
  mapSet(key: bigint, value: number): void
  mapDelete(key: bigint): void
  tlbDrop(tlb: number, key: bigint): void
  tlbFlush(tlb: number): void
  flush(cache: number): void
  run(records: number, from: number, to: number, dinero: number): number
}

export function machineKernel(): MachineExports {
  return instantiate('machine') as MachineExports
}
