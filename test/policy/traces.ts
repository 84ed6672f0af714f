/** Traces that a test can make again: the generators are part of the expected counts. */

/** Numbers in [0, 1) from a linear congruential generator, the same in any language. */
export function fractions(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

/** A hot set, a scan now and then, and a loop: each policy has something to get wrong. */
export function mixed(seed: number, length: number): Int32Array {
  const next = fractions(seed)
  const trace = new Int32Array(length)
  let scan = 1000
  let loop = 0
  for (let i = 0; i < length; i++) {
    const phase = Math.floor(i / 500) % 3
    if (phase === 0) trace[i] = Math.floor(200 * next() ** 3)
    else if (phase === 1) trace[i] = next() < 0.5 ? scan++ : Math.floor(60 * next())
    else trace[i] = 300 + (loop++ % 130)
  }
  return trace
}
