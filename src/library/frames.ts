/**
 * How much of all regions is resident, and what has to go when that is too much.
 *
 * Pages come and go in units of `unitPages`. A unit is in the window when it has come lately, then the policy has it; a pinned one
 * is in neither. The window is there because a policy may give newcomers very little room (LIRS, S3-FIFO), and what was read
 * ahead must not go before it is used. A policy sees when units come and go; references to what is resident nobody sees.
 */
import { createPolicy, NONE, type Policy, type PolicyName } from '../policy/index.ts'
import { Lists } from '../policy/lists.ts'

/** Pages that come and go together. */
export const unitPages = 4
/** Pages that one refill brings at most. */
export const mostPages = 256

const WINDOW = 1

/** Whose pages are kept account of. `evict` drops a unit, and says whether all of it could go; `cost` is a unit's, in microseconds. */
export interface Paged {
  readonly firstUnit: number
  readonly units: number
  readonly cost: number
  evict(unit: number): boolean
}

export class Frames {
  /** Pages that may be resident. */
  readonly limit: number
  /** Pages that one refill brings at most here: one cluster must not push out much of the rest. */
  readonly cluster: number
  readonly #units: number
  readonly #window: Lists = new Lists(1)
  readonly #windowUnits: number
  readonly #policy: Policy
  readonly #regions: Paged[] = []
  #pinned = 0
  #nextUnit = 0
  /** Numbers of regions that are no more: the tables must not grow for ever. */
  readonly #free: { first: number; units: number }[] = []

  constructor(limit: number, policy: PolicyName) {
    this.limit = limit
    this.cluster = Math.max(unitPages, Math.min(mostPages, limit >> 5))
    this.#units = Math.floor(limit / unitPages)
    this.#windowUnits = Math.max((2 * this.cluster) / unitPages, this.#units >> 3)
    this.#policy = createPolicy(policy, this.#units - this.#windowUnits)
  }

  /** Numbers for the units of a region that is about to be made. */
  number(units: number): number {
    const free = this.#free.find(range => range.units >= units)
    if (free !== undefined) {
      const { first } = free
      free.first += units
      free.units -= units
      return first
    }
    const first = this.#nextUnit
    this.#nextUnit += units
    this.#window.fit(this.#nextUnit)
    return first
  }

  add(region: Paged): void {
    this.#regions.push(region)
  }

  remove(region: Paged): void {
    const { firstUnit: first, units } = region
    for (let unit = 0; unit < units; unit++) this.left(region, unit)
    this.#regions.splice(this.#regions.indexOf(region), 1)
    this.#free.push({ first, units })
  }

  /** The unit is about to come: makes room for it. */
  admit(region: Paged, unit: number): void {
    const number = region.firstUnit + unit
    // It was about to come before, and its bytes were not there yet.
    if (this.#window.in[number] === WINDOW || this.#policy.resident(number)) return
    this.#window.push(WINDOW, number)
    this.#makeRoom()
  }

  /** Nothing of the unit is resident any more, and that was not our doing. */
  left(region: Paged, unit: number): void {
    const number = region.firstUnit + unit
    if (this.#window.in[number] === WINDOW) this.#window.remove(number)
    else this.#policy.forget(number)
  }

  /** Whether units of so many pages can be pinned, too. */
  mayPin(pages: number): boolean {
    return this.#pinned + pages / unitPages + 2 <= this.#units - (this.#units >> 2)
  }

  /** The unit stays from now on, when it comes or if it is there. */
  pin(region: Paged, unit: number): void {
    this.left(region, unit)
    this.#pinned++
    this.#makeRoom()
  }

  unpin(region: Paged, unit: number, resident: boolean): void {
    this.#pinned--
    if (resident) this.admit(region, unit)
  }

  // What leaves the window is the policy's; what that gives up for it is dropped. Written pages for which there is no room on
  // disk stay, over the budget.
  #makeRoom(): void {
    const { size } = this.#window
    for (let stuck = 0; stuck < 16; ) {
      const inWindow = size[WINDOW] as number
      const full = inWindow + this.#policy.residents + this.#pinned > this.#units
      let victim: number
      if (inWindow > this.#windowUnits || (full && this.#policy.residents === 0 && inWindow > 1)) {
        const number = this.#window.oldest(WINDOW)
        this.#window.remove(number)
        victim = this.#policy.admit(number, this.#owner(number).cost)
      } else if (full) victim = this.#policy.evict()
      else return
      if (victim === NONE) {
        if (this.#policy.residents === 0) return
        continue
      }
      const region = this.#owner(victim)
      if (!region.evict(victim - region.firstUnit)) {
        this.#window.push(WINDOW, victim)
        stuck++
      }
    }
  }

  #owner(unit: number): Paged {
    for (const region of this.#regions)
      if (unit >= region.firstUnit && unit < region.firstUnit + region.units) return region
    throw new Error(`lethe: unit ${unit} belongs to no region`)
  }
}
