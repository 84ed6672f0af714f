// Suppressions: findings that are known and only counted. A file of them, one a paragraph:
//
//   name of it                    for people
//   kind uninitialised-branch     or a pattern: kind leak-*
//   at deflate*                   the innermost frame's function, then the next: at FUNCTION [in FILE]
//   ...                           any number of frames
//   at main in app.c
//
// `*` stands for anything, `?` for one character; # begins a comment.
import type { CheckFinding, CheckFrame } from './errors.ts'

interface Suppression {
  readonly name: string
  readonly kind: RegExp
  /** undefined: any number of frames. */
  readonly frames: readonly (FramePattern | undefined)[]
}

interface FramePattern {
  readonly name: RegExp
  readonly file: RegExp | undefined
}

/** A suppressions file is wrong; `line` counts from 1. */
export class SuppressionError extends Error {
  override readonly name = 'SuppressionError'
  readonly code: 'syntax'
  readonly line: number
  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`)
    this.code = 'syntax'
    this.line = line
  }
}

export const isNothing = (): boolean => false

/** Reads a file of suppressions: the answer says whether one of them fits a finding. */
export function parseSuppressions(text: string): (finding: CheckFinding) => boolean {
  const all: Suppression[] = []
  let open:
    | { name: string; kind: RegExp | undefined; frames: (FramePattern | undefined)[]; line: number }
    | undefined
  const close = (): void => {
    if (open === undefined) return
    if (open.kind === undefined)
      throw new SuppressionError(
        open.line,
        `the suppression "${open.name}" has no line "kind …"; say what it is about, or kind *`,
      )
    all.push({ name: open.name, kind: open.kind, frames: open.frames })
    open = undefined
  }
  text.split('\n').forEach((raw, i) => {
    const line = raw.replace(/#.*/, '').trim()
    if (line === '') {
      if (raw.trim() === '') close()
      return
    }
    if (open === undefined) {
      open = { name: line, kind: undefined, frames: [], line: i + 1 }
      return
    }
    const [, kind] = /^kind\s+(\S+)$/.exec(line) ?? []
    const [, at, file] = /^at\s+(.+?)(?:\s+in\s+(\S+))?$/.exec(line) ?? []
    if (kind !== undefined) open.kind = glob(kind)
    else if (line === '...') open.frames.push(undefined)
    else if (at !== undefined)
      open.frames.push({ name: glob(at), file: file === undefined ? undefined : glob(`*${file}`) })
    else throw new SuppressionError(i + 1, `"${line}" is none of: kind KIND, at FUNCTION [in FILE], ...`)
  })
  close()
  return finding => all.some(one => one.kind.test(finding.kind) && fits(one.frames, finding.frames))
}

// The frames of a suppression are a beginning of the stack.
function fits(patterns: readonly (FramePattern | undefined)[], frames: readonly CheckFrame[]): boolean {
  const [first, ...rest] = patterns
  if (patterns.length === 0) return true
  if (first === undefined) {
    for (let skip = 0; skip <= frames.length; skip++) if (fits(rest, frames.slice(skip))) return true
    return false
  }
  const [frame, ...others] = frames
  if (frame === undefined || !first.name.test(frame.name)) return false
  if (first.file !== undefined && !first.file.test(frame.file ?? '')) return false
  return fits(rest, others)
}

function glob(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`)
}
