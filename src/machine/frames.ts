/**
 * What is in memory: for every frame, whose pages it is, and which page goes when another needs the place.
 *
 * A *unit* is what replacement counts: the contents of one page, wherever they are, with a small number. Processes that share a page
 * share its unit; a page that goes to swap keeps it, so that policies with a memory (ghosts) know it when it comes back.
 */
import { NONE, type Policy } from '../policy/policy.ts'
import type { MachineConfig } from './config.ts'
import type { Source } from './disk.ts'
import { MachineError } from './errors.ts'
import type { Memory } from './memory.ts'
import type { Page, Process } from './process.ts'

/** A frame in use. */
export interface FrameUse {
  readonly frame: number
  unit: number
  /** Pages of processes that are this frame. */
  readonly pages: Page[]
  /** Whose share of memory it counts to. */
  owner: Process
  /** What the bytes are the same as, if that is known: a place in a source, or a swap slot. */
  source: Source | undefined
  at: number
  slot: number
  /** Some process has written it since it was the same as that. */
  dirty: boolean
  /** When the disk has brought it. */
  readyAt: number
}

export type PolicyMaker = (name: string, frames: number, seed: number) => Policy

export class Frames {
  readonly #memory: Memory
  readonly #config: MachineConfig
  readonly #make: PolicyMaker
  readonly #uses = new Map<number, FrameUse>()
  readonly #byUnit = new Map<number, FrameUse>()
  readonly #bySource = new Map<string, FrameUse>()
  readonly #policies = new Map<number, Policy>()
  readonly #freeUnits: number[] = []
  /** How many frames and swap slots have the unit; files keep the ones of their pages for good. */
  readonly #holders: number[] = []
  readonly #fileUnits = new Map<string, number>()

  constructor(config: MachineConfig, memory: Memory, make: PolicyMaker) {
    this.#config = config
    this.#memory = memory
    this.#make = make
  }

  /** The policy that a process's pages are under. */
  policy(process: Process): Policy {
    const local = this.#config.allocation === 'local'
    const key = local ? process.pid : 0
    let policy = this.#policies.get(key)
    if (policy === undefined) {
      const frames = local ? this.#config.framesPerProcess : this.#memory.frames
      policy = this.#make(this.#config.policy, Math.min(frames, this.#memory.frames), this.#config.seed)
      this.#policies.set(key, policy)
    }
    return policy
  }

  /** All policies, by process; 0 where all processes share one. */
  policies(): ReadonlyMap<number, Policy> {
    return this.#policies
  }

  newUnit(): number {
    const unit = this.#freeUnits.pop() ?? this.#holders.length
    this.#holders[unit] = 0
    return unit
  }

  /** The unit of a page of a source. */
  unitOf(source: Source, at: number): number {
    const key = keyOf(source, at, -1)
    let unit = this.#fileUnits.get(key)
    if (unit === undefined) {
      unit = this.newUnit()
      this.holdUnit(unit)
      this.#fileUnits.set(key, unit)
    }
    return unit
  }

  holdUnit(unit: number): void {
    this.#holders[unit] = (this.#holders[unit] as number) + 1
  }

  /** One holder less. A unit that nobody holds is nowhere any more: no policy remembers it. */
  releaseUnit(unit: number): void {
    const left = (this.#holders[unit] as number) - 1
    this.#holders[unit] = left
    if (left > 0) return
    for (const policy of this.#policies.values()) policy.forget(unit)
    this.#freeUnits.push(unit)
  }

  /** What is in a frame is no longer what others have under this unit. */
  renew(use: FrameUse): void {
    const policy = this.policy(use.owner)
    const old = use.unit
    policy.forget(old)
    this.#byUnit.delete(old)
    use.unit = this.newUnit()
    this.holdUnit(use.unit)
    this.#byUnit.set(use.unit, use)
    policy.admit(use.unit)
    this.releaseUnit(old)
  }

  use(frame: number): FrameUse {
    const use = this.#uses.get(frame)
    if (use === undefined) throw new Error(`lethe machine: frame ${frame} is in no use`)
    return use
  }

  /** How many frames are in use for pages. */
  get used(): number {
    return this.#uses.size
  }

  /** All frames in use for pages. */
  uses(): Iterable<FrameUse> {
    return this.#uses.values()
  }

  /** The frame that has this place of a source, or this swap slot. */
  holding(source: Source | undefined, at: number, slot: number): FrameUse | undefined {
    return this.#bySource.get(keyOf(source, at, slot))
  }

  /**
   * A frame for a page of `process`. `evict` is called first, for each frame that has to go. MachineError 'memory' when nothing
   * can go.
   */
  take(process: Process, vpn: number, unit: number, evict: (use: FrameUse) => void): FrameUse {
    const policy = this.policy(process)
    // Page tables have taken frames that the policy counts on.
    while (this.#memory.free === 0 && policy.residents < policy.frames) this.#go(policy.evict(), evict)
    const out = policy.admit(unit)
    if (out !== NONE) this.#go(out, evict)
    const frame = this.#memory.take(vpn)
    if (frame < 0)
      throw new MachineError(
        'memory',
        `Frame ${vpn}, which page ${vpn} of process ${process.pid} must have, is taken; take another placement than identity`,
      )
    const use: FrameUse = {
      frame,
      unit,
      pages: [],
      owner: process,
      source: undefined,
      at: 0,
      slot: -1,
      dirty: false,
      readyAt: 0,
    }
    this.#uses.set(frame, use)
    this.#byUnit.set(unit, use)
    this.holdUnit(unit)
    return use
  }

  /** Sends one page away: of this process's policy, or of any if that has none. False if there is none at all. */
  reclaim(process: Process, evict: (use: FrameUse) => void): boolean {
    for (const policy of [this.policy(process), ...this.#policies.values()]) {
      const unit = policy.evict()
      if (unit === NONE) continue
      this.#go(unit, evict)
      return true
    }
    return false
  }

  /** Sends this very frame's page away, whatever the policy would have chosen. */
  send(use: FrameUse, evict: (use: FrameUse) => void): void {
    this.policy(use.owner).forget(use.unit)
    this.#go(use.unit, evict)
  }

  #go(unit: number, evict: (use: FrameUse) => void): void {
    const use = unit === NONE ? undefined : this.#byUnit.get(unit)
    if (use === undefined)
      throw new MachineError(
        'memory',
        `No page can make room: page tables and pages of others have all ${this.#memory.frames} frames; give the machine more`,
      )
    evict(use)
    this.#release(use)
  }

  #release(use: FrameUse): void {
    this.name(use, undefined, 0, -1)
    this.#uses.delete(use.frame)
    this.#byUnit.delete(use.unit)
    this.#memory.give(use.frame)
    this.releaseUnit(use.unit)
  }

  /** A reference to what is in a frame. */
  touch(use: FrameUse): void {
    this.policy(use.owner).touch(use.unit)
  }

  /** Says what the frame's bytes are the same as; nothing, if neither source nor slot is given. */
  name(use: FrameUse, source: Source | undefined, at: number, slot: number): void {
    if (use.source !== undefined || use.slot >= 0) this.#bySource.delete(keyOf(use.source, use.at, use.slot))
    use.source = source
    use.at = at
    use.slot = slot
    if (source !== undefined || slot >= 0) this.#bySource.set(keyOf(source, at, slot), use)
  }

  /** A page is no longer this frame; the last one frees it. Whether it is free now. */
  leave(use: FrameUse, page: Page): boolean {
    use.pages.splice(use.pages.indexOf(page), 1)
    if (use.pages.length === 0) {
      this.policy(use.owner).forget(use.unit)
      this.#release(use)
      return true
    }
    return false
  }

  /** After its owner has let go: the share is another's. `evict` for what that one has to give. */
  inherit(use: FrameUse, evict: (use: FrameUse) => void): void {
    const heir = (use.pages[0] as Page).process
    if (heir === use.owner || this.#config.allocation === 'global') {
      use.owner = heir
      return
    }
    this.policy(use.owner).forget(use.unit)
    use.owner = heir
    const out = this.policy(heir).admit(use.unit)
    if (out !== NONE) this.#go(out, evict)
  }

  /** A process has ended. */
  forget(process: Process): void {
    if (this.#config.allocation === 'local') this.#policies.delete(process.pid)
  }
}

function keyOf(source: Source | undefined, at: number, slot: number): string {
  return source === undefined ? `swap:${slot}` : `${source.id}:${at}`
}
