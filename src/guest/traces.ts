// Where a guest was: the frames of its functions in an Error's stack.

/** A frame of the guest's. */
export interface Frame {
  /** index of the function in the module that ran */
  readonly index: number
  /** its name, where the module has one */
  readonly name: string | undefined
  /** byte offset in the module that ran */
  readonly offset: number
}

const frame = /^\s*at (?:(.*) \()?wasm:\/\/[^)]*:wasm-function\[(\d+)\]:0x([0-9a-f]+)\)?$/

/** The guest's frames of an error, innermost first. */
export function trapFrames(error: Error): Frame[] {
  const frames: Frame[] = []
  for (const line of (error.stack ?? '').split('\n')) {
    const [, name, index, offset] = frame.exec(line) ?? []
    if (index === undefined || offset === undefined) continue
    // The engine puts the module's name before the function's.
    frames.push({ index: Number(index), name: own(name), offset: Number.parseInt(offset, 16) })
  }
  return frames
}

const own = (name: string | undefined): string | undefined => {
  const found = name?.replace(/^[^.\s]*\.wasm\./, '')
  return found === undefined || found === '' ? undefined : found
}

/** A frame as people read it. */
export function frameText({ index, name, offset }: Frame): string {
  return `${name ?? `function ${index}`} (at 0x${offset.toString(16)})`
}
