// The pressure limit: its law on a simulated target, and the whole on a real program with phases.
import { afterAll, describe, expect, it } from 'vitest'
import { Governor } from '../src/pager/governor.ts'
import type { PagerStatus } from '../src/pager/main.ts'
import { Prices, priced } from '../src/pager/prices.ts'
import { cannotAttach, Desk, MiB } from './cli-helpers.ts'

/** A target of clusters; so many of them it wants back as soon as they are dropped. */
class Simulated {
  readonly resident: boolean[]
  hot: number
  waited = 0
  now = 0
  readonly price = 100e-6

  constructor(clusters: number, hot: number) {
    this.resident = Array.from({ length: clusters }, () => true)
    this.hot = hot
  }

  /** Lets so many milliseconds go by under a governor; the largest share of any second but the first `settling`. */
  run(governor: Governor, ms: number, settling: number): number {
    let largest = 0
    let second = this.waited
    for (let passed = 0; passed < ms; passed += 50) {
      this.now += 50
      const allowance = governor.allowance(this.now, this.waited)
      let risk = 0
      let exhausted = false
      // The worst order that there is: hot clusters first.
      for (let i = 0; i < this.resident.length && allowance > 0; i++) {
        if (this.resident[i] === false) continue
        exhausted = risk + this.price > allowance
        if (exhausted) break
        risk += this.price
        this.resident[i] = false
      }
      if (allowance > 0) governor.took(risk, exhausted)
      for (let i = 0; i < this.hot; i++) {
        if (this.resident[i] === true) continue
        this.resident[i] = true
        this.waited += this.price
      }
      if ((passed + 50) % 1000 > 0) continue
      if (passed >= settling) largest = Math.max(largest, this.waited - second)
      second = this.waited
    }
    return largest
  }

  get left(): number {
    return this.resident.filter(Boolean).length
  }
}

describe('the law of the pressure limit', () => {
  it('gives back all of a target that is idle', () => {
    const target = new Simulated(50_000, 0)
    target.run(new Governor(0.01), 10_000, 0)
    expect(target.left).toBe(0)
  })

  it('holds the share under the limit while a target wants everything back', () => {
    const target = new Simulated(50_000, 50_000)
    expect(target.run(new Governor(0.01), 60_000, 0)).toBeLessThanOrEqual(0.01)
  })

  it('holds it after a phase in which everything was given back', () => {
    const target = new Simulated(20_000, 0)
    const governor = new Governor(0.01)
    target.run(governor, 10_000, 0)
    expect(target.left).toBe(0)
    target.hot = 20_000
    expect(target.run(governor, 30_000, 4000)).toBeLessThanOrEqual(0.01)
    target.hot = 0
    target.run(governor, 20_000, 0)
    expect(target.left).toBe(0)
  })

  it('puts a drop off while stops would cost more than what it risks', () => {
    const governor = new Governor(0.01)
    governor.allowance(0, 0)
    for (let i = 0; i < 20; i++) governor.stopped(0.01)
    expect(governor.allowance(1000, 0)).toBe(0)
    let granted = 0
    for (let now = 1250; granted === 0; now += 250) granted = governor.allowance(now, 0)
    expect(granted).toBeGreaterThan(0.05)
  })
})

describe('a price', () => {
  it('is what 64 KiB take in refills of the size that there were', () => {
    const prices = new Prices()
    prices.note(3, priced, 1e-3)
    expect(prices.of(3)).toBeCloseTo(1e-3, 4)
    for (let i = 0; i < 200; i++) prices.note(3, 4096, 0.5e-3)
    expect(prices.of(3)).toBeGreaterThan(16 * 0.5e-3)
    expect(new Prices(prices.memory).of(3)).toBe(prices.of(3))
  })

  it('does not follow the slow reads of a pager that has just woken', () => {
    const prices = new Prices()
    prices.appraise(3, 2e-3)
    const before = prices.of(3)
    for (let i = 0; i < 4; i++) prices.note(3, priced, 0.3)
    expect(prices.of(3)).toBeLessThan(2 * before)
    for (let i = 0; i < 200; i++) prices.note(3, priced, 20e-3)
    expect(prices.of(3)).toBeGreaterThan(4 * 2e-3)
  })

  it('is bounded, where blocks come back in small pieces, by what they cost at once', () => {
    const prices = new Prices()
    prices.appraise(3, 2e-3)
    for (let i = 0; i < 200; i++) prices.note(3, 4096, 2e-3)
    expect(prices.of(3)).toBeLessThan(10e-3)
    expect(prices.of(3)).toBeGreaterThan(2e-3)
    const successor = new Prices()
    successor.learn(prices.known([3]))
    expect(successor.of(3)).toBe(prices.of(3))
  })
})

const reason = cannotAttach()

describe.skipIf(reason !== undefined)(`a real program (${reason ?? 'attached with --pressure'})`, () => {
  const desk = new Desk()
  afterAll(() => desk.close())

  function status(): PagerStatus {
    const { processes } = JSON.parse(desk.run('status', '--json').out) as { processes: PagerStatus[] }
    const [one] = processes
    if (one === undefined) throw new Error('nothing is attached')
    return one
  }

  async function until(
    holds: (status: PagerStatus) => boolean,
    meanwhile: () => Promise<void>,
  ): Promise<PagerStatus> {
    const end = performance.now() + 60_000
    for (;;) {
      const now = status()
      if (holds(now) || performance.now() > end) return now
      await meanwhile()
    }
  }

  it('gives everything back while it is idle, and is not made to wait while it is busy', {
    timeout: 200_000,
  }, async () => {
    const holder = await desk.holder(64 * MiB)
    const attached = desk.run('attach', String(holder.pid), '--once', '--pressure=2')
    expect(attached.err).toBe('')
    const rest = (): Promise<void> => new Promise(after => setTimeout(after, 300))
    const idle = await until(s => s.clean === 0 && s.virtual > 60 * MiB, rest)
    expect(idle.clean).toBe(0)
    expect(idle.virtual).toBeGreaterThan(60 * MiB)
    // It reads all of its memory again and again: nearly all of it must be there then.
    for (let i = 0; i < 20; i++) await holder.check()
    const busy = await until(
      s => (s.pressure?.share ?? 1) < 0.02,
      () => holder.check(),
    )
    expect(busy.pressure?.share).toBeLessThan(0.02)
    expect(busy.clean).toBeGreaterThan(32 * MiB)
    expect(busy.backings.every(backing => backing.price > 0)).toBe(true)
    const again = await until(s => s.clean === 0, rest)
    expect(again.clean).toBe(0)
    await holder.check()
    expect(desk.run('detach', String(holder.pid)).code).toBe(0)
    await holder.check()
  })
})
