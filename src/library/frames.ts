/** How much of all regions is resident, and what has to go when that is too much. */
import { MemoryError } from './errors.ts'
import { mostPages, type RegionPages, unitPages } from './region-pages.ts'

export class Frames {
  /** Pages that may be resident. */
  readonly limit: number
  /** Pages that one refill brings at most: one cluster must not push out much of the rest. */
  readonly cluster: number
  readonly #regions: RegionPages[] = []
  readonly #queue = new Map<number, true>()
  #resident = 0
  /** Pages of pinned units, whether they are there or not. */
  #pinned = 0
  #nextUnit = 0

  constructor(limit: number) {
    this.limit = limit
    this.cluster = Math.max(1, Math.min(mostPages, limit >> 4))
  }

  get resident(): number {
    return this.#resident
  }

  /** Numbers for the units of a region that is about to be made. */
  number(units: number): number {
    const first = this.#nextUnit
    this.#nextUnit += units
    return first
  }

  add(region: RegionPages): void {
    this.#regions.push(region)
  }

  remove(region: RegionPages): void {
    this.#regions.splice(this.#regions.indexOf(region), 1)
  }

  /** `count` pages of a unit are resident now, `change` more than before. */
  changed(region: RegionPages, unit: number, count: number, change: number): void {
    this.#resident += change
    if (region.isPinned(unit)) return
    if (count === 0) this.leave(region, unit)
    else if (change > 0 && count === change) this.enter(region, unit)
  }

  enter(region: RegionPages, unit: number): void {
    this.#queue.set(region.firstUnit + unit, true)
  }

  leave(region: RegionPages, unit: number): void {
    this.#queue.delete(region.firstUnit + unit)
  }

  /** Whether units of so many pages can be pinned, too. */
  mayPin(pages: number): boolean {
    return this.#pinned + pages + unitPages * 2 <= this.limit - (this.limit >> 2)
  }

  /** The unit stays from now on. */
  pin(region: RegionPages, unit: number): void {
    this.#pinned += unitPages
    this.leave(region, unit)
  }

  unpin(region: RegionPages, unit: number, resident: boolean): void {
    this.#pinned -= unitPages
    if (resident) this.enter(region, unit)
  }

  /** Pages of a region that ended. */
  gone(pages: number): void {
    this.#resident -= pages
  }

  /** Drops until `pages` more fit, or nothing more can be dropped. */
  makeRoom(pages: number): void {
    for (let tries = this.#queue.size; this.#resident + pages > this.limit && tries > 0; tries--) {
      const victim = this.#queue.keys().next().value
      if (victim === undefined) return
      this.#queue.delete(victim)
      const region = this.#owner(victim)
      if (region.evict(victim - region.firstUnit) === 0) this.#queue.set(victim, true)
    }
  }

  #owner(unit: number): RegionPages {
    for (const region of this.#regions)
      if (unit >= region.firstUnit && unit < region.firstUnit + region.units) return region
    throw new MemoryError('internal', `Unit ${unit} belongs to no region`)
  }
}
