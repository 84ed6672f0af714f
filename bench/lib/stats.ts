// Medians: with other programs on the same CPUs, means say nothing.

export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] as number
  const high = sorted[Math.ceil(at)] as number
  return low + (high - low) * (at - Math.floor(at))
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

export const max = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0)

/** The order of `items` in round `n`: each comes first as often as the others. */
export function rotated<T>(items: readonly T[], n: number): T[] {
  return items.map((_, i) => items[(i + n) % items.length] as T)
}

export const sleep = (ms: number): Promise<void> => new Promise(after => setTimeout(after, ms))
