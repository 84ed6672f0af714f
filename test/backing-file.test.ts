import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BackingError, sameIdentity } from '../src/backing/backing.ts'
import { FileBacking } from '../src/backing/file.ts'
import { Folder } from './explain-helpers.ts'

function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    return error instanceof BackingError ? error.code : `another error: ${String(error)}`
  }
  return 'no error'
}

describe('a file as a backing', () => {
  it('reads short only at its end', () => {
    using folder = new Folder()
    using file = new FileBacking(folder.file('a', 'hello world'))
    const into = new Uint8Array(8)
    expect(file.size).toBe(11)
    expect(file.read(6, into)).toBe(5)
    expect(Buffer.from(into.subarray(0, 5)).toString()).toBe('world')
    expect(file.read(11, into)).toBe(0)
    expect(file.read(5_000_000_000, into)).toBe(0)
  })

  it('keeps its bytes through unlink and rename over it', () => {
    using folder = new Folder()
    const path = folder.file('a', 'old bytes')
    using file = new FileBacking(path)
    renameSync(folder.file('b', 'new'), path)
    rmSync(path)
    const into = new Uint8Array(9)
    file.read(0, into)
    expect(Buffer.from(into).toString()).toBe('old bytes')
  })

  it('tells that it was written', () => {
    using folder = new Folder()
    const path = folder.file('a', 'x')
    using file = new FileBacking(path)
    expect(sameIdentity(file.identity, file.current())).toBe(true)
    appendFileSync(path, 'y')
    expect(sameIdentity(file.identity, file.current())).toBe(false)
  })

  it('says precisely why something is no backing', () => {
    using folder = new Folder()
    const fifo = join(folder.path, 'fifo')
    execFileSync('mkfifo', [fifo])
    expect(codeOf(() => new FileBacking(join(folder.path, 'none')))).toBe('not-found')
    expect(codeOf(() => new FileBacking(folder.path))).toBe('not-regular')
    expect(codeOf(() => new FileBacking(fifo))).toBe('not-regular')
    expect(codeOf(() => new FileBacking('/dev/null'))).toBe('not-regular')
    const closed = new FileBacking(folder.file('a', 'x'))
    closed.close()
    closed.close()
    expect(codeOf(() => closed.read(0, new Uint8Array(1)))).toBe('closed')
    using open = new FileBacking(folder.file('b', 'x'))
    expect(codeOf(() => open.read(-1, new Uint8Array(1)))).toBe('range')
  })

  it.skipIf(process.getuid?.() === 0)('names a file that may not be read (root reads all)', () => {
    using folder = new Folder()
    const path = join(folder.path, 'secret')
    writeFileSync(path, 'x')
    chmodSync(path, 0)
    expect(codeOf(() => new FileBacking(path))).toBe('denied')
  })

  it('holds with a lease if the caller can take one, and releases it once', () => {
    using folder = new Folder()
    const path = folder.file('a', 'x')
    let released = 0
    using file = new FileBacking(path, { lease: () => () => released++ })
    const hold = file.hold()
    expect(hold.leased).toBe(true)
    hold.release()
    hold.release()
    expect(released).toBe(1)
    using plain = new FileBacking(path)
    expect(plain.hold().leased).toBe(false)
  })
})
