/** Keeps threads that only compute below a share of the CPUs, by sleeping between their blocks of work. */

const SLICE_MS = 2

/** `share`: CPUs that the process may use (0.5: half of one) while so many of its threads call what this gives. */
export function throttle(share: number | undefined, threads = 1): () => void {
  if (share === undefined || share >= threads) return () => undefined
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
