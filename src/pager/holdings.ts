// What a pager holds for its target: the files that its pages are refilled from, and the park.
//
// A backing is opened, put under a lease, and parked in the target before the first page depends on it, so that neither
// unlink nor our death can take it away. Their names and identities stand in `backings.json`; a successor takes the
// open files from the park and compares.
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backing } from '../backing/backing.ts'
import { FileBacking } from '../backing/file.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { LensError } from '../lens/errors.ts'
import { indexStore } from '../explain/stores.ts'
import { recipe } from '../lens/recipe.ts'
import { through } from '../lens/through.ts'
import { EAGAIN, errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { privateCopy } from './copies.ts'
import type { FoundBacking } from './explainer.ts'
import { unwritten } from './lease.ts'
import { zeroBacking } from './journal.ts'
import type { Kept } from './park.ts'
import type { ServerData } from './protocol.ts'
import type { Guess } from './verify.ts'

/** A file that serves, as it is written to `backings.json`. */
export interface BackingRecord {
  index: number
  path: string
  /** device:inode:size:mtime:ctime */
  identity: string
  /** Name of the lens that makes memory's bytes of the file's; none: they are the same. */
  lens?: string
  /** Of a recipe: the backings that it is made of besides its own file. */
  sources?: readonly number[]
  /** Of a private copy: the identity of the file when it was copied. `identity` is the copy's. */
  original?: string
  lost?: string
}

/** Why a file can't serve. */
export interface Refusal {
  readonly why: string
  /** It may serve another time, or where more of memory is made of it. */
  passing: boolean
}

/** File systems whose files somebody else than this kernel can change, by their magic numbers (linux/magic.h). */
const changeableFileSystems = new Map([
  [0x6969, 'NFS'],
  [0x65735546, 'FUSE'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x01021997, '9p'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
  [0x47504653, 'GPFS'],
  [0x0bd00bd0, 'Lustre'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
  [0x786f4256, 'a VirtualBox share'],
])

/** What zero pages are compared with. */
const zeros: Backing = {
  size: Number.MAX_SAFE_INTEGER,
  identity: { device: '', inode: 'zeros', size: 0, mtime: '', ctime: '' },
  read(_offset, into) {
    into.fill(0)
    return into.length
  },
  hold: () => ({ leased: true, release: () => undefined }),
  close: () => undefined,
}

export class Holdings {
  readonly #path: string
  readonly records: BackingRecord[] = []
  /** What pages are compared with, by the index of its record. */
  readonly views: Map<number, Backing> = new Map([[zeroBacking, zeros]])
  /** Descriptors of private copies, which have no name, by the index of the record. */
  readonly #copies = new Map<number, number>()
  /** Files with copies in memory that can't serve, by path. */
  readonly refused: Map<string, Refusal> = new Map()

  constructor(directory: string) {
    this.#path = join(directory, 'backings.json')
  }

  /** Reads what a predecessor wrote. */
  read(): void {
    try {
      this.records.push(...(JSON.parse(readFileSync(this.#path, 'utf8')) as BackingRecord[]))
    } catch {
      // It had none yet.
    }
  }

  write(): void {
    writeFileSync(`${this.#path}.new`, JSON.stringify(this.records))
    renameSync(`${this.#path}.new`, this.#path)
  }

  /** Takes the open files of a predecessor; for the server: which of them can serve. */
  adopt(kept: Kept): ServerData['backings'] {
    return this.records.flatMap(b => {
      const fd = kept.backings.get(b.index)
      if (fd === undefined) return []
      const changed =
        b.lost ??
        (unwritten(fd) || identityOf(fd) === b.identity
          ? undefined
          : `${b.path} was changed while no pager held it`)
      if (b.original !== undefined) this.#copies.set(b.index, fd)
      if (changed !== undefined) b.lost = changed
      else
        try {
          this.views.set(b.index, viewOf(fd, b.path, b.lens, this.#viewsOf(b.sources)))
        } catch {
          // The server finds the same, and says so when a page depends on it; nothing new is proved with it.
        }
      return [
        {
          index: b.index,
          path: b.path,
          fd,
          ...lensOf(b),
          ...(b.sources === undefined ? {} : { sources: b.sources }),
          ...(changed === undefined ? {} : { lost: changed }),
        },
      ]
    })
  }

  /** Bytes of packs: they are memory too, for they lie beside the journal. */
  get packedBytes(): number {
    return this.#bytesOf('packed')
  }

  /** Bytes of recipe files. */
  get recipeBytes(): number {
    return this.#bytesOf('recipe')
  }

  #bytesOf(lens: string): number {
    return this.records
      .filter(b => b.lens === lens && b.lost === undefined)
      .reduce((sum, b) => sum + (statSync(b.path, { throwIfNoEntry: false })?.size ?? 0), 0)
  }

  // Throws LensError when one of them can't be read any more.
  #viewsOf(sources: readonly number[] | undefined): Backing[] {
    return (sources ?? []).map(index => {
      const view = this.views.get(index)
      if (view === undefined) throw new LensError('io', 'recipe', `backing ${index} can't serve`)
      return view
    })
  }

  /**
   * Gives up files of ours that little is made of any more: truncated like any backing that somebody destroys, they are
   * let go of by the server after it has refilled what is left. `dependents`: pages that a backing still makes.
   */
  async retire(dependents: (index: number) => number): Promise<void> {
    for (const { index, path, lens, original, lost } of this.records) {
      const view = this.views.get(index)
      if (lost !== undefined || view === undefined) continue
      const kept = lens === 'packed' || lens === 'recipe'
      if (!kept && original === undefined) continue
      const share = kept ? 1 / 2 : 1 / 16
      if (this.#used(index, dependents) * 4096 > view.size * share) continue
      await truncate(kept ? path : `/proc/self/fd/${this.#copies.get(index) ?? -1}`).catch(() => {})
      if (kept) rmSync(path, { force: true })
    }
  }

  /** Pages that a backing makes, itself or as a source of others. */
  #used(index: number, dependents: (index: number) => number): number {
    return this.records
      .filter(b => b.lost === undefined && (b.index === index || b.sources?.includes(index) === true))
      .reduce((sum, b) => sum + dependents(b.index), 0)
  }

  /** Notes that a backing can't serve any more. */
  lose(index: number, why: string): void {
    const record = this.records.find(b => b.index === index)
    if (record !== undefined) record.lost = why
    this.write()
  }

  /**
   * Opens a file that copies were found of, has `lease` put it under a lease, and parks it through `parkIn`. `dependent`:
   * bytes of memory that are made of it; `sources`: the backings that it is made of besides. Its index, or undefined
   * when it can't serve.
   */
  async open(
    found: Omit<FoundBacking, 'sources'>,
    parkIn: number,
    lease: (index: number, fd: number) => Promise<number>,
    dependent: number,
    sources?: readonly number[],
  ): Promise<number | undefined> {
    let fd: number
    try {
      fd = openSync(found.openPath, constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
      return this.#refuse(found, `can't be opened (${(error as NodeJS.ErrnoException).code})`)
    }
    const identity = identityOf(fd)
    const known = this.records.find(
      b =>
        (b.identity === identity || b.original === identity) && b.lens === found.lens && b.lost === undefined,
    )
    if (known !== undefined) {
      closeSync(fd)
      this.refused.delete(found.path)
      return known.index
    }
    const changeable = changeableFileSystems.get(statfsSync(`/proc/self/fd/${fd}`).type)
    if (changeable !== undefined) {
      closeSync(fd)
      return this.#refuse(found, `is on ${changeable}, where files can change without our being told`)
    }
    let view: Backing
    let original: string | undefined
    try {
      view = viewOf(fd, found.path, found.lens, this.#viewsOf(sources))
      if (view.size < 1) throw new LensError('corrupt', found.lens ?? '', 'it makes nothing of this file')
    } catch (error) {
      closeSync(fd)
      return this.#refuse(found, `can't be read (${(error as Error).message})`)
    }
    const index = this.records.length
    let leased = await lease(index, fd)
    let noCopy: string | undefined
    if (leased === -EAGAIN && sources === undefined) {
      const copy = await privateCopy(fd, dependent)
      if (typeof copy === 'string') noCopy = copy
      else {
        closeSync(fd)
        fd = copy
        original = identity
        view = viewOf(fd, found.path, found.lens)
        leased = await lease(index, fd)
      }
    }
    if (leased < 0) {
      closeSync(fd)
      return this.#refuse(found, leaseRefusal(leased, noCopy), noCopy !== undefined)
    }
    // If it was changed between the search and now, the comparison that follows finds out. But our view of it and the server's
    // must be of the same bytes: where a table lies, what was made of it. A later pass looks anew.
    if (original === undefined && identityOf(fd) !== identity) {
      closeSync(fd)
      return this.#refuse(found, 'was changed while it was opened', true)
    }
    this.records.push({
      index,
      path: found.path,
      identity: identityOf(fd),
      ...lensOf(found),
      ...(original === undefined ? {} : { original }),
      ...(sources === undefined ? {} : { sources }),
    })
    this.write()
    const parked = fds.sendFds(parkIn, [fd], new TextEncoder().encode(JSON.stringify({ backing: index })))
    // Without the park an unlinked file would be lost with us: don't use it.
    if (parked < 0) return this.#refuse(found, `can't be parked in the target (${errnoName(parked)})`)
    this.refused.delete(found.path)
    this.views.set(index, view)
    if (original !== undefined) this.#copies.set(index, fd)
    return index
  }

  #refuse({ path }: { path: string }, why: string, passing = false): undefined {
    this.refused.set(path, { why: `${path} ${why}`, passing })
  }
}

/** Backings to hold: all but those that give next to nothing, for each costs a descriptor and a lease on somebody's file. */
export function worthOpening(guesses: readonly Guess[], known: number): Set<number> {
  const pages = new Map<number, number>()
  for (const g of guesses) pages.set(g.backing, (pages.get(g.backing) ?? 0) + g.pages)
  let spare = [...pages.values()].reduce((sum, n) => sum + n, known) / 250
  const worth = new Set(pages.keys())
  for (const [backing, n] of [...pages].sort((a, b) => a[1] - b[1])) {
    spare -= n
    if (n >= 16 || spare < 0) break
    worth.delete(backing)
  }
  return worth
}

/**
 * What a lens makes of an open file; the file's own bytes without one. What the lens needs to know of the file the search
 * has left in the index store; if it is not there any more, it is found out anew. `sources`: what a recipe is made of.
 */
export function viewOf(
  descriptor: number,
  path: string,
  lens: string | undefined,
  sources: readonly Backing[] = [],
): Backing {
  const file = new FileBacking(path, { descriptor })
  if (lens === undefined) return file
  if (lens === 'recipe') return through(file, recipe(sources))
  lensNamed(lens).prepare?.(file, indexStore())
  return through(file, lensNamed(lens))
}

function lensOf({ lens }: { lens?: string }): { lens?: string } {
  return lens === undefined ? {} : { lens }
}

function identityOf(fd: number): string {
  const s = fstatSync(fd, { bigint: true })
  return [s.dev, s.ino, s.size, s.mtimeNs, s.ctimeNs].join(':')
}

function leaseRefusal(errno: number, noCopy = ''): string {
  return errno === -EAGAIN
    ? `is open for writing somewhere, so its bytes may change at any time${noCopy === '' ? '' : `; ${noCopy}`}`
    : `is on a file system that gives no leases (${errnoName(errno)})`
}
