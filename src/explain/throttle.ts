/** Keeps a program that only computes below a share of one CPU, by sleeping between its blocks of work. */

const SLICE_MS = 2

export function throttle(share: number | undefined): () => void {
  if (share === undefined || share >= 1) return () => undefined
  const cell = new Int32Array(new SharedArrayBuffer(4))
  const bounded = Math.max(0.005, share)
  let used = cpuMs()
  let began = performance.now()
  return () => {
    const busy = cpuMs() - used
    if (busy < SLICE_MS) return
    const rest = busy / bounded - (performance.now() - began)
    if (rest > 0) Atomics.wait(cell, 0, 0, rest)
    used = cpuMs()
    began = performance.now()
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
