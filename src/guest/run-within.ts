// A run with a budget: what is over it leaves memory, the guest does not notice.
import { OP } from '../wasm/opcode-table.ts'
import { Cursor } from '../wasm/instructions.ts'
import type { Data, Module } from '../wasm/module.ts'
import { Budget, type BudgetCounts, type BudgetPicture, type Segment } from './budget.ts'
import type { EngineMemory } from './engine.ts'
import { GuestError } from './errors.ts'
import { type Ending, run, type RunOptions } from './instance.ts'
import type { Guest } from './load.ts'
import { withRelease } from './malloc.ts'
import type { MallocFunctions } from './malloc-functions.ts'
import { together } from './together.ts'

/**
 * Runs the guest with at most `limit` bytes of its memory resident, and says what that took. What these functions free is given
 * back.
 */
export async function runWithin(
  guest: Guest,
  options: RunOptions,
  limit: number,
  functions?: MallocFunctions,
): Promise<{ ending: Ending; counts: BudgetCounts; picture: BudgetPicture }> {
  if (isShared(guest.module))
    throw new GuestError(
      'option',
      `${guest.path} has a memory that is shared between threads or has 64-bit addresses: run it without --budget`,
    )
  const budget = await Budget.open(limit)
  let counts: BudgetCounts
  let picture: BudgetPicture
  let ending: Ending
  let memory: EngineMemory | undefined
  // It comes first: what calls malloc is told, whoever's malloc that will be.
  const release =
    functions !== undefined && functions.size > 0
      ? withRelease(
          functions,
          {
            release: (at, length) => memory !== undefined && budget.release(memory, at, length),
            trim: ranges => memory !== undefined && budget.trim(memory, ranges),
          },
          at => (memory === undefined ? 0 : new DataView(memory.buffer).getUint32(at, true)),
        )
      : {}
  try {
    const kept: RunOptions = {
      observer: budget.observer,
      bounces: budget.bounces,
      ready: running => {
        memory = running.memory.memory
        budget.attach(memory, { path: guest.path, segments: segmentsOf(guest) })
      },
    }
    ending = run(guest, together(together(release, options), kept))
  } finally {
    picture = budget.picture()
    counts = await budget.close()
  }
  return { ending, counts, picture }
}

/** Whether a memory of the module is one that can't be given a budget: shared between threads, or of 64-bit addresses. */
export function isShared({ memories, imports }: Module): boolean {
  const types = [...imports.flatMap(one => (one.kind === 'memory' ? [one.type] : [])), ...memories]
  return types.some(one => one.shared || one.is64)
}

/** Where the module's file has what instantiation puts into the first memory. */
export function segmentsOf({ bytes, module }: Guest): Segment[] {
  return module.datas.flatMap(data => {
    const at = placeOf(data)
    return at === undefined
      ? []
      : [{ at, length: data.bytes.length, offset: data.bytes.byteOffset - bytes.byteOffset }]
  })
}

// A segment at a constant place; what a global decides is left out.
function placeOf({ memory, offset }: Data): number | undefined {
  if (memory !== 0 || offset === undefined) return undefined
  const cursor = new Cursor(offset.bytes, 0)
  return cursor.next() && cursor.op === OP['i32.const'] ? cursor.i32 >>> 0 : undefined
}
