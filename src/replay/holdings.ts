// What the keeper holds, told: which pages are what and why, what is kept for them, and what they take to come back.
import type { KeptEpoch } from './epochs.ts'
import { type Lenses, pageBytes, type Part } from './lenses.ts'
import { type KeeperReport, nowhere, type PageRun, pageState, type Shared, word } from './protocol.ts'

export interface Holdings {
  readonly shared: Shared
  readonly lenses: Lenses
  readonly epochs: ReadonlyMap<number, KeptEpoch>
}

/** The epochs that lenses need, and those that these refer to. */
export function neededEpochs({ shared, lenses, epochs }: Holdings): Set<KeptEpoch> {
  const needed = new Set<KeptEpoch>()
  const add = ({ recipe }: Part): void => {
    for (const { epoch } of recipe.pieces) {
      const kept = epochs.get(epoch)
      if (kept !== undefined) needed.add(kept)
    }
  }
  for (let page = 0; page < shared.states.length; page++)
    if (lenses.has(page)) lenses.parts(page).forEach(add)
  // The set grows while it is gone through.
  for (const { references } of needed) for (const { parts } of references) parts.forEach(add)
  return needed
}

/** Bytes kept for all lenses. */
export function keptOf(holdings: Holdings): KeeperReport['kept'] {
  const { lenses } = holdings
  let inputs = 0
  let calls = 0
  for (const kept of neededEpochs(holdings)) {
    for (const { page, parts } of kept.references)
      if (!lenses.has(page)) for (const { recipe } of parts) inputs += recipe.residual?.length ?? 0
    inputs += kept.inputBytes
    calls += kept.callBytes
  }
  return { inputs, calls, residuals: lenses.residualBytes, tables: lenses.pieceBytes + lenses.pages * 8 }
}

/** The pages that the guest has written, those next to each other that are alike together. */
export function runsOf(holdings: Holdings): PageRun[] {
  const { shared, lenses, epochs } = holdings
  const { states, control, lastWritten } = shared
  const runs: { -readonly [K in keyof PageRun]: PageRun[K] }[] = []
  for (let page = 0; page < (control[word.top] as number); page++) {
    if (lastWritten[page] === 0) continue
    const state = states[page]
    const there = state === pageState.virtual || state === pageState.clean
    const pieces = there ? lenses.pieces(page) : []
    const [one] = pieces
    const why = !there
      ? whyPhysical(holdings, page)
      : one === undefined
        ? lenses.isZero(page)
          ? 'zeros'
          : 'packed'
        : lenses.isMoved(page)
          ? 'moved'
          : pieces.every(piece => piece.from - piece.at === page * pageBytes) &&
              pieces.some(piece => piece.over)
            ? 'together'
            : pieces.length > 1 || one.from !== page * pageBytes
              ? 'copied'
              : one.epoch === lastWritten[page]
                ? 'last'
                : 'older'
    const kind = state === pageState.virtual ? 'virtual' : there ? 'clean' : 'physical'
    const point = one === undefined ? nowhere : (epochs.get(one.epoch)?.point ?? nowhere)
    const { kept, refill } = there ? priceOf(holdings, page) : { kept: 0, refill: 0 }
    const before = runs.at(-1)
    if (
      before !== undefined &&
      before.first + before.count === page &&
      before.kind === kind &&
      before.why === why &&
      before.point === point
    ) {
      before.refill += (refill - before.refill) / ++before.count
      before.kept += kept
    } else runs.push({ first: page, count: 1, kind, why, point, kept, refill })
  }
  return runs
}

// What is kept for a page (of epochs, its share) and the time of the replays that make it.
function priceOf({ lenses, epochs }: Holdings, page: number): { kept: number; refill: number } {
  let kept = 0
  const needed = new Set<KeptEpoch>()
  for (const { recipe, length } of lenses.parts(page)) {
    kept += ((recipe.residual?.length ?? 0) * length) / pageBytes
    for (const { epoch } of recipe.pieces) {
      const from = epochs.get(epoch)
      if (from === undefined) continue
      kept += (from.inputBytes + from.callBytes) / Math.max(1, from.users)
      needed.add(from)
    }
  }
  return { kept, refill: [...needed].reduce((sum, epoch) => sum + epoch.milliseconds, 0) }
}

function whyPhysical({ shared, epochs }: Holdings, page: number): string {
  const last = shared.lastWritten[page] as number
  if (epochs.has(last)) return 'written in the last epochs, or replay made too little of it'
  return 'written last where nothing is recorded: in a phase that made few pages, by an epoch that is not repeatable, or at the end'
}
