/** The policies again, as plainly as they can be written: arrays, newest page first. For exact comparison only. */

type Model = (trace: Int32Array, frames: number) => number

const fifo: Model = (trace, frames) => {
  const queue: number[] = []
  let misses = 0
  for (const page of trace) {
    if (queue.includes(page)) continue
    misses++
    if (queue.length === frames) queue.pop()
    queue.unshift(page)
  }
  return misses
}

const lru: Model = (trace, frames) => {
  let stack: number[] = []
  let misses = 0
  for (const page of trace) {
    if (!stack.includes(page)) misses++
    stack = [page, ...stack.filter(other => other !== page)].slice(0, frames)
  }
  return misses
}

const clock =
  (loaded: boolean): Model =>
  (trace, frames) => {
    const queue: { page: number; bit: boolean }[] = []
    let misses = 0
    for (const page of trace) {
      const there = queue.find(entry => entry.page === page)
      if (there) {
        there.bit = true
        continue
      }
      misses++
      while (queue.length === frames) {
        const oldest = queue.pop() as { page: number; bit: boolean }
        if (oldest.bit) queue.unshift({ page: oldest.page, bit: false })
      }
      queue.unshift({ page, bit: loaded })
    }
    return misses
  }

const opt: Model = (trace, frames) => {
  const resident: number[] = []
  let misses = 0
  trace.forEach((page, i) => {
    if (resident.includes(page)) return
    misses++
    if (resident.length === frames) {
      const next = (other: number): number => {
        const at = trace.indexOf(other, i)
        return at < 0 ? Number.POSITIVE_INFINITY : at
      }
      let worst = 0
      resident.forEach((other, k) => {
        if (next(other) > next(resident[worst] as number)) worst = k
      })
      resident.splice(worst, 1)
    }
    resident.push(page)
  })
  return misses
}

const sieve: Model = (trace, frames) => {
  const queue: { page: number; bit: boolean }[] = []
  let hand: { page: number; bit: boolean } | undefined
  let misses = 0
  for (const page of trace) {
    const there = queue.find(entry => entry.page === page)
    if (there) {
      there.bit = true
      continue
    }
    misses++
    if (queue.length === frames) {
      let at = hand === undefined ? queue.length - 1 : queue.indexOf(hand)
      while (queue[at]?.bit) {
        ;(queue[at] as { bit: boolean }).bit = false
        at = at === 0 ? queue.length - 1 : at - 1
      }
      hand = queue[at - 1]
      queue.splice(at, 1)
    }
    queue.unshift({ page, bit: false })
  }
  return misses
}

const twoQ: Model = (trace, frames) => {
  const into: number[] = []
  const out: number[] = []
  let main: number[] = []
  let misses = 0
  for (const page of trace) {
    if (into.includes(page)) continue
    if (main.includes(page)) {
      main = [page, ...main.filter(other => other !== page)]
      continue
    }
    misses++
    const known = out.indexOf(page)
    if (known >= 0) out.splice(known, 1)
    if (into.length + main.length === frames) {
      if (into.length > Math.floor(frames / 4) || main.length === 0) {
        out.unshift(into.pop() as number)
        if (out.length > Math.floor(frames / 2)) out.pop()
      } else main.pop()
    }
    if (known >= 0) main.unshift(page)
    else into.unshift(page)
  }
  return misses
}

// Frames that four does not divide: the lowest segment overflows, until a hit sends a page down to it.
const slru: Model = (trace, frames) => {
  const each = Math.floor(frames / 4)
  if (each === 0) return lru(trace, frames)
  const segments: number[][] = [[], [], [], []]
  let misses = 0
  for (const page of trace) {
    const at = segments.findIndex(segment => segment.includes(page))
    if (at < 0) {
      misses++
      if (segments.flat().length === frames) segments.find(segment => segment.length > 0)?.pop()
      const room = segments.findIndex(segment => segment.length < each)
      segments[Math.max(0, room)]?.unshift(page)
      continue
    }
    const segment = segments[at] as number[]
    segment.splice(segment.indexOf(page), 1)
    const up = Math.min(at + 1, 3)
    segments[up]?.unshift(page)
    for (let s = up; (segments[s] as number[]).length > each; s--) {
      if (s > 0) segments[s - 1]?.unshift(segments[s]?.pop() as number)
      else {
        segments[0]?.splice(each)
        break
      }
    }
  }
  return misses
}

const arc: Model = (trace, c) => {
  let t1: number[] = []
  let t2: number[] = []
  let b1: number[] = []
  let b2: number[] = []
  let p = 0
  let misses = 0
  const without = (list: number[], page: number): number[] => list.filter(other => other !== page)
  const replace = (inB2: boolean): void => {
    if (t1.length > 0 && (t1.length > p || (inB2 && t1.length === p))) b1.unshift(t1.pop() as number)
    else if (t2.length > 0) b2.unshift(t2.pop() as number)
    else b1.unshift(t1.pop() as number)
  }
  for (const x of trace) {
    if (t1.includes(x) || t2.includes(x)) {
      t1 = without(t1, x)
      t2 = [x, ...without(t2, x)]
      continue
    }
    misses++
    if (b1.includes(x)) {
      p = Math.min(p + Math.max(b2.length / b1.length, 1), c)
      b1 = without(b1, x)
      replace(false)
      t2.unshift(x)
    } else if (b2.includes(x)) {
      p = Math.max(p - Math.max(b1.length / b2.length, 1), 0)
      b2 = without(b2, x)
      replace(true)
      t2.unshift(x)
    } else {
      const full = t1.length + t2.length === c
      if (t1.length + b1.length === c) {
        if (t1.length < c) {
          b1.pop()
          replace(false)
        } else t1.pop()
      } else if (full) {
        if (t1.length + t2.length + b1.length + b2.length === 2 * c) b2.pop()
        replace(false)
      }
      t1.unshift(x)
    }
  }
  return misses
}

const s3Fifo: Model = (trace, frames) => {
  type Entry = { page: number; uses: number }
  const smallTarget = Math.max(1, Math.floor(frames * 0.1))
  const small: Entry[] = []
  const main: Entry[] = []
  const ghost: number[] = []
  let misses = 0
  const fromMain = (): void => {
    for (;;) {
      const oldest = main.pop() as Entry
      if (oldest.uses === 0) return
      main.unshift({ page: oldest.page, uses: Math.min(oldest.uses, 3) - 1 })
    }
  }
  for (const page of trace) {
    const there = [...small, ...main].find(entry => entry.page === page)
    if (there) {
      there.uses++
      continue
    }
    misses++
    const known = ghost.indexOf(page)
    if (known >= 0) ghost.splice(known, 1)
    if (small.length + main.length === frames) {
      let gone = false
      if (main.length <= frames - smallTarget)
        while (!gone && small.length > 0) {
          const oldest = small.pop() as Entry
          if (oldest.uses >= 2) main.unshift({ page: oldest.page, uses: 0 })
          else {
            gone = true
            ghost.unshift(oldest.page)
            if (ghost.length > Math.floor(frames * 0.9)) ghost.pop()
          }
        }
      if (!gone) fromMain()
    }
    ;(known >= 0 ? main : small).unshift({ page, uses: 0 })
  }
  return misses
}

export const models: Readonly<Record<string, Model>> = {
  fifo,
  lru,
  clock: clock(false),
  'second-chance': clock(true),
  opt,
  sieve,
  '2q': twoQ,
  slru,
  arc,
  's3-fifo': s3Fifo,
}
