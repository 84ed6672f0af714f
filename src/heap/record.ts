/**
 * Records the allocation trace of a real program: a small library (record/shim.c) is preloaded into it and writes every call with
 * its call site. docs/heap.md says why not ltrace, heaptrack, gdb or uprobes.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { foreground } from '../process/foreground.ts'
import { preloading, preloadLibrary } from '../process/preload.ts'
import type { Kind, Trace } from './trace.ts'
import { removeFolder } from '../sys/folder.ts'

export type RecordErrorCode = 'no-compiler' | 'no-command' | 'nothing-recorded'

/** Why a program could not be recorded; `code` is stable. */
export class RecordError extends Error {
  override readonly name = 'RecordError'
  readonly code: RecordErrorCode
  constructor(code: RecordErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

const source = fileURLToPath(new URL('./record/shim.c', import.meta.url))

/** The library's path. Throws RecordError. */
function library(): string {
  try {
    return preloadLibrary('record', [source])
  } catch (error) {
    throw new RecordError('no-compiler', (error as Error).message)
  }
}

export interface Recorded {
  readonly trace: Trace
  /** The program's exit code, 128 + n when signal n ended it. */
  readonly code: number
}

/** Runs a command to its end, with this process's streams but standard output on 2 if `quiet`. Throws RecordError. */
export async function record(words: readonly string[], quiet: boolean): Promise<Recorded> {
  const environment = preloading(library())
  const folder = mkdtempSync(join(tmpdir(), 'lethe-record-'))
  try {
    const child = spawn(words[0] ?? '', words.slice(1), {
      stdio: ['inherit', quiet ? 2 : 'inherit', 'inherit'],
      env: { ...environment, LETHE_RECORD: folder },
    })
    const code = await foreground(child).catch((error: NodeJS.ErrnoException) => {
      throw new RecordError(
        'no-command',
        `'${words[0]}' can't be started (${error.code}); check its name and PATH`,
      )
    })
    const ops = join(folder, `${child.pid}.ops`)
    if (!existsSync(ops))
      throw new RecordError(
        'nothing-recorded',
        `'${words[0]}' could not be recorded: it called no malloc, or it is statically linked, setuid, or not for this machine`,
      )
    return {
      trace: decode(readFileSync(ops), readFileSync(join(folder, `${child.pid}.sites`), 'utf8')),
      code,
    }
  } finally {
    removeFolder(folder)
  }
}

const codes: readonly (Kind | undefined)[] = [undefined, 'alloc', 'calloc', 'aligned', 'realloc', 'free']
const columnOf: Readonly<Record<Kind, number>> = { alloc: 0, calloc: 1, aligned: 2, realloc: 3, free: 4 }

// The records of shim.c as a trace: addresses become ids. Blocks that were there before, or were given out elsewhere, are left out.
function decode(ops: Buffer, names: string): Trace {
  const most = Math.floor(ops.length / 32)
  const kind = new Uint8Array(most)
  const [id, bytes, align, site] = [0, 1, 2, 3].map(() => new Int32Array(most)) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ]
  const live = new Map<bigint, number>()
  let ids = 0
  let n = 0
  for (let i = 0; i < most; i++) {
    const at = i * 32
    const name = codes[ops.readUInt32LE(at)]
    if (name === undefined) break
    const pointer = ops.readBigUInt64LE(at + 8)
    const other = ops.readBigUInt64LE(at + 16)
    const old = live.get(name === 'realloc' ? other : pointer)
    if (name === 'free' && old === undefined) continue
    if (name === 'free') live.delete(pointer)
    if (name === 'realloc') live.delete(other)
    const block = old ?? ids++
    if (name !== 'free') live.set(pointer, block)
    kind[n] = columnOf[name]
    id[n] = block
    bytes[n] = name === 'free' ? 0 : Math.min(Number(ops.readBigUInt64LE(at + 24)), 0x7fffffff)
    align[n] = name === 'aligned' ? Number(other) : 0
    site[n] = name === 'free' ? -1 : ops.readInt32LE(at + 4)
    n++
  }
  if (n === 0) throw new RecordError('nothing-recorded', 'The command never called malloc')
  return {
    format: 'lethe',
    length: n,
    ids,
    kind: kind.slice(0, n),
    id: id.slice(0, n),
    bytes: bytes.slice(0, n),
    align: align.slice(0, n),
    site: site.slice(0, n),
    sites: names.split('\n').filter(line => line !== ''),
  }
}
