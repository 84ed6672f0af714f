// What a bench changes outside its own processes is put back: at its end, when it fails, and when it is interrupted.
// Undo actions are synchronous, so that they also run in the `exit` event.

const undo: (() => void)[] = []

/** Registers an action to run at the end, last registered first. The returned function runs it now, once. */
export function atEnd(action: () => void): () => void {
  const once = (): void => {
    const at = undo.indexOf(once)
    if (at < 0) return
    undo.splice(at, 1)
    try {
      action()
    } catch (error) {
      console.error(`bench: could not put something back: ${(error as Error).message}`)
    }
  }
  undo.push(once)
  return once
}

/** Runs all that is left. */
export function cleanUp(): void {
  for (;;) {
    const last = undo.at(-1)
    if (last === undefined) return
    last()
  }
}

process.on('exit', cleanUp)
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
] as const)
  process.on(signal, () => process.exit(128 + number))
