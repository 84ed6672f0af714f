/** Files and memories of a test, and what can't be tried here. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { Memory, type MemoryOptions } from '../../src/library/index.ts'
import { removeFolder } from '../../src/sys/folder.ts'

/** Why there are no page faults to be served here; undefined when there are. */
export async function whyNoMmu(): Promise<string | undefined> {
  const memory = await Memory.open({ budget: '1MiB', mmu: 'auto' })
  const { whyNoMmu: why } = memory
  await memory.close()
  return why
}

export interface Desk {
  readonly folder: string
  file(name: string, content: string | Uint8Array): string
  open(options?: Partial<MemoryOptions>): Promise<Memory>
}

/** A folder for each test, and memories that are closed after it. */
export function desk(): Desk {
  let folder: string | undefined
  const memories: Memory[] = []
  const here = (): string => {
    folder ??= mkdtempSync(join(tmpdir(), 'lethe-library-'))
    return folder
  }
  afterEach(async () => {
    for (const memory of memories.splice(0)) await memory.close().catch(() => undefined)
    if (folder !== undefined) removeFolder(folder)
    folder = undefined
  })
  return {
    get folder() {
      return here()
    },
    file(name, content) {
      const path = join(here(), name)
      writeFileSync(path, content)
      return path
    },
    async open(options = {}) {
      const memory = await Memory.open({ budget: '2MiB', cache: join(here(), 'cache'), ...options })
      memories.push(memory)
      return memory
    },
  }
}

/** Numbers that look random and are the same each time. */
export function noise(length: number, seed = 1): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    words[i] = x ^ (x >>> 15)
  }
  return words
}

export const bytesOf = (words: Uint32Array | Float64Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Lets messages of the pager come in. */
export const turn = (ms = 20): Promise<void> => new Promise(settle => setTimeout(settle, ms))
