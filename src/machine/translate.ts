/**
 * The lecture's problem sheet: one virtual address, every blank filled in. Looks only; a machine is the same afterwards, so that each
 * address of a sheet starts from the tables that are printed on it.
 */
import type { AccessKind, Entry } from './access.ts'
import { refusal } from './mmu.ts'
import type { Loaded } from './state.ts'

/** An entry that the walk came by. */
export interface SheetStep {
  readonly level: number
  readonly index: number
  /** Physical address of the entry, if tables lie in memory. */
  readonly address?: number
  readonly entry: Entry
}

/** The blanks. What an address does not come to (after a page fault) is left out. */
export interface Sheet {
  readonly type: 'translation'
  readonly address: number
  readonly kind: AccessKind
  readonly bits: string
  readonly vpn: number
  readonly vpo: number
  readonly tlbi?: number
  readonly tlbt?: number
  readonly tlbHit?: boolean
  readonly walk: readonly SheetStep[]
  readonly pageFault: boolean
  /** Why, if the page is there but the access is not allowed. */
  readonly refused?: 'not allowed' | 'protected' | 'not user'
  readonly ppn?: number
  readonly ppo?: number
  readonly physical?: number
  readonly physicalBits?: string
  readonly co?: number
  readonly ci?: number
  readonly ct?: number
  readonly cacheHit?: boolean
  /** What the first cache level gives on a hit; else what memory holds, if the state says that. */
  readonly byte?: number
}

/** Fills in the blanks for one address. MachineError 'range' for an address that the machine does not have. */
export function translate(machine: Loaded, address: number, kind: AccessKind = 'read'): Sheet {
  const { config, mmu, table } = machine
  const { vpn, vpo } = mmu.split(address)
  const head = {
    type: 'translation' as const,
    address,
    kind,
    bits: address.toString(2).padStart(config.translation ? config.virtualBits : config.physicalBits, '0'),
    vpn,
    vpo,
  }
  if (!config.translation)
    return { ...head, walk: [], pageFault: false, ...reach(machine, kind, address), ppn: vpn, ppo: vpo }
  const tlb = mmu.tlbFor(kind)
  const split = tlb?.split(vpn)
  const held = tlb?.peek(1, vpn)
  const looked = split === undefined ? {} : { tlbi: split.set, tlbt: split.tag, tlbHit: held !== undefined }
  const walk: SheetStep[] = []
  for (let slot = table.first(vpn); held === undefined; ) {
    const entry = table.read(slot)
    const at = table.address(slot)
    walk.push({
      level: slot.level + 1,
      index: slot.index,
      ...(at === undefined ? {} : { address: at }),
      entry,
    })
    if (!entry.valid || slot.level === table.depth - 1) break
    slot = table.next(vpn, slot, entry.frame)
  }
  const entry = held?.entry ?? (walk.at(-1) as SheetStep).entry
  const cause = refusal(entry, kind)
  if (cause === 'not present') return { ...head, ...looked, walk, pageFault: true }
  const refused = cause === undefined ? {} : { refused: cause as 'not allowed' | 'protected' | 'not user' }
  if (cause !== undefined) return { ...head, ...looked, walk, pageFault: true, ...refused }
  const physical = entry.frame * config.pageSize + vpo
  return {
    ...head,
    ...looked,
    walk,
    pageFault: false,
    ppn: entry.frame,
    ppo: vpo,
    ...reach(machine, kind, physical),
  }
}

function reach({ config, mmu, byte }: Loaded, kind: AccessKind, physical: number): Partial<Sheet> {
  const cache = mmu.caches.first(kind)
  const split = cache?.split(physical)
  const value = byte(physical)
  return {
    physical,
    physicalBits: physical.toString(2).padStart(config.physicalBits, '0'),
    ...(cache === undefined || split === undefined
      ? {}
      : { co: split.offset, ci: split.set, ct: split.tag, cacheHit: cache.holds(physical) }),
    ...(value === undefined ? {} : { byte: value }),
  }
}

/** A table with the bits of an address: which of them are which. Two or three lines of text. */
export function bitRows(bits: string, fields: readonly (readonly [name: string, width: number])[]): string {
  const parts: string[] = []
  const names: string[] = []
  let at = 0
  for (const [name, width] of fields) {
    if (width === 0) continue
    const text = bits
      .slice(at, at + width)
      .split('')
      .join(' ')
    const wide = Math.max(text.length, name.length)
    parts.push(text.padEnd(wide))
    names.push(name.padEnd(wide))
    at += width
  }
  return `${names.join(' | ').trimEnd()}\n${parts.join(' | ').trimEnd()}`
}
