/**
 * Random operations on a machine with several processes, against a plain model: for every process an array of bytes and what may be
 * done with each page. After each operation the invariants are checked, now and then with all bytes.
 *
 *   npm run stress:machine -- [first seed] [seeds] [operations]
 */
import { check } from '../../src/machine/check.ts'
import type { Source } from '../../src/machine/disk.ts'
import { Machine } from '../../src/machine/machine.ts'
import { Random } from '../../src/machine/sets.ts'
import { lensNamed } from '../../src/lens/catalogue.ts'

interface ModelPage {
  /** Its own bytes; or those of a file, by reference, so that who shares them sees writes. */
  bytes: Uint8Array
  readonly shared: boolean
  read: boolean
  write: boolean
}

/** What a page of a private file mapping is until it is written: the file's bytes now. */
interface FilePage extends ModelPage {
  file?: { readonly bytes: Uint8Array; readonly at: number } | undefined
}

type Space = Map<number, FilePage>

const page = 64

/** Runs `operations` of a seed. Throws where machine and model differ; the message says seed and operation. */
export function stress(
  seed: number,
  operations: number,
): { accesses: number; evictions: number; faults: number } {
  const random = new Random(seed * 48_271 + 11)
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const local = random.below(4) === 0
  const inside = random.below(3) === 0
  const config = {
    virtualBits: 14,
    physicalBits: 13,
    pageSize: page,
    frames: inside ? 96 : 24 + random.below(40),
    pageTable: {
      levels: pick(inside ? [[8], [4, 4]] : [[8], [4, 4], [3, 3, 2]]),
      entry: pick(['compact', 'p6', 'sv39']),
      placement: inside ? 'frames' : 'outside',
      cached: random.below(2) === 0,
    },
    tlb: pick([null, { entries: 8, ways: 2, asid: true }, { entries: 4, ways: 4, policy: 'fifo' }]),
    itlb: pick([null, { entries: 4, ways: 1, asid: true }]),
    caches: pick([[], [{ unified: { size: 256, line: 16, ways: 2 } }]]),
    policy: pick([
      'lru',
      'fifo',
      'clock',
      'random',
      '2q',
      'arc',
      'lirs',
      'clock-pro',
      's3-fifo',
      'sieve',
      'slru',
    ]),
    allocation: local ? 'local' : 'global',
    framesPerProcess: local ? 4 : 0,
    swapSlots: 4096,
    seed,
  }
  // Page tables take much of a small memory: then it is a little larger, and fewer processes share it.
  const most = inside ? 2 : 5
  const machine = new Machine(config)
  machine.signalsEnd = false
  const fileBytes = Array.from({ length: 3 }, (_, i) =>
    Uint8Array.from({ length: page * 4 + (i === 2 ? 17 : i * page) }, () => random.below(256)),
  )
  // Files end with a page: what is written behind the end of one may or may not be kept. The third is read by a lens only.
  // What everybody sees of a file; the machine's own copy follows when dirty pages are written.
  const files = fileBytes.map((bytes, i) => machine.file(`file ${i}`, bytes.slice()))
  // The last file is one that only a lens reads: a file may not change under a lens.
  const lenses: Source[] = [machine.lens(files[2] as Source, lensNamed('latin1-utf16'))]
  const lensBytes = new Uint8Array((fileBytes[2] as Uint8Array).length * 2)
  fileBytes[2]?.forEach((byte, i) => {
    lensBytes[i * 2] = byte
  })
  const spaces = new Map<number, Space>()
  const first = machine.open('p')
  machine.munmap(first.pid, 0, 2 ** 14)
  spaces.set(first.pid, new Map())

  const now = (model: FilePage): Uint8Array => {
    if (model.file === undefined) return model.bytes
    const out = new Uint8Array(page)
    out.set(model.file.bytes.subarray(model.file.at, model.file.at + page))
    return out
  }

  const map = (pid: number, space: Space): void => {
    const vpn = random.below(256)
    const pages = 1 + random.below(6)
    const kind = random.below(5)
    for (let i = 0; i < pages; i++) if (vpn + i > 255 || space.has(vpn + i)) return
    const write = random.below(4) > 0
    const at = vpn * page
    const protection = { write }
    if (kind < 2) {
      machine.mmap(pid, { at, length: pages * page, protection })
      for (let i = 0; i < pages; i++)
        space.set(vpn + i, { bytes: new Uint8Array(page), shared: false, read: true, write })
      return
    }
    if (kind === 2) {
      machine.mmap(pid, { at, length: pages * page, protection, shared: true })
      for (let i = 0; i < pages; i++)
        space.set(vpn + i, { bytes: new Uint8Array(page), shared: true, read: true, write })
      return
    }
    const shared = kind === 3 && random.below(2) === 0
    const which = random.below(2)
    const source = kind === 3 ? (files[which] as Source) : (lenses[0] as Source)
    const bytes = kind === 3 ? (fileBytes[which] as Uint8Array) : lensBytes
    const count = Math.min(pages, Math.ceil(bytes.length / page))
    machine.mmap(pid, { at, length: count * page, protection, source, shared })
    for (let i = 0; i < count; i++) {
      const file = { bytes, at: i * page }
      space.set(vpn + i, { bytes: new Uint8Array(0), shared, read: true, write, file })
    }
  }

  const access = (pid: number, space: Space): void => {
    const known = [...space.keys()]
    const vpn = known.length > 0 && random.below(20) > 0 ? pick(known) : random.below(256)
    const offset = random.below(page)
    const size = 1 + random.below(Math.min(8, page - offset))
    const model = space.get(vpn)
    const address = vpn * page + offset
    if (random.below(2) === 0) {
      const { bytes, accesses } = machine.load(pid, address, size)
      const allowed = model?.read === true
      if (allowed !== (accesses[0]?.physical !== undefined))
        throw new Error(`read at ${address}: ${accesses[0]?.verdict}, the model says ${allowed}`)
      if (model === undefined || !allowed) return
      const want = now(model).subarray(offset, offset + size)
      if (!bytes.every((byte, i) => byte === want[i]))
        throw new Error(`read at ${address} of process ${pid}: ${bytes.join()} instead of ${want.join()}`)
      return
    }
    const data = Uint8Array.from({ length: size }, () => random.below(256))
    const [record] = machine.store(pid, address, data)
    const allowed = model?.write === true
    if (allowed !== (record?.physical !== undefined))
      throw new Error(`write at ${address}: ${record?.verdict}, the model says ${allowed}`)
    if (model === undefined || !allowed) return
    if (model.file !== undefined && model.shared) {
      const { bytes, at } = model.file
      bytes.set(data, at + offset)
      return
    }
    if (model.file !== undefined) {
      model.bytes = now(model).slice()
      model.file = undefined
    }
    model.bytes.set(data, offset)
  }

  const forkOne = (pid: number, space: Space): void => {
    if (spaces.size >= most) return
    const child = machine.fork(pid)
    const copy: Space = new Map()
    for (const [vpn, model] of space)
      copy.set(vpn, model.shared ? model : { ...model, bytes: model.bytes.slice() })
    spaces.set(child.pid, copy)
  }

  const protect = (pid: number, space: Space): void => {
    const known = [...space.keys()]
    if (known.length === 0) return
    const vpn = pick(known)
    const read = random.below(5) > 0
    const write = read && random.below(2) === 0
    machine.mprotect(pid, vpn * page, page, { read, write, execute: false })
    const model = space.get(vpn) as FilePage
    // A shared page's bytes are one for all, its permissions are not.
    space.set(vpn, shareOf(model, read, write))
  }

  for (let i = 0; i < operations; i++) {
    const pid = pick([...spaces.keys()])
    const space = spaces.get(pid) as Space
    const what = random.below(1000)
    try {
      if (what < 800) access(pid, space)
      else if (what < 850) map(pid, space)
      else if (what < 890) {
        const vpn = random.below(256)
        const pages = Math.min(1 + random.below(5), 256 - vpn)
        machine.munmap(pid, vpn * page, pages * page)
        for (let p = 0; p < pages; p++) space.delete(vpn + p)
      } else if (what < 905) forkOne(pid, space)
      else if (what < 920) {
        if (spaces.size > 1) {
          machine.exit(pid)
          spaces.delete(pid)
        }
      } else if (what < 960) machine.reclaim(pid)
      else protect(pid, space)
      // After what changes much, and now and then between accesses.
      if (what >= 800 || i % 8 === 0) check(machine, i % 64 === 0 ? 2 : 1)
    } catch (error) {
      throw new Error(`seed ${seed}, operation ${i + 1} (${what}): ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  const { accesses, evictions, pageFaults } = machine.counters
  return { accesses, evictions, faults: pageFaults }
}

function shareOf(model: FilePage, read: boolean, write: boolean): FilePage {
  return {
    get bytes() {
      return model.bytes
    },
    set bytes(bytes: Uint8Array) {
      model.bytes = bytes
    },
    get file() {
      return model.file
    },
    set file(file: FilePage['file']) {
      model.file = file
    },
    shared: model.shared,
    read,
    write,
  }
}

if (process.argv[1] === import.meta.filename) {
  const [from = 1, count = 100, operations = 1_000_000] = process.argv.slice(2).map(Number)
  for (let seed = from; seed < from + count; seed++) {
    const began = performance.now()
    const { accesses, evictions, faults } = stress(seed, operations)
    console.log(
      `seed ${seed}: ${operations} operations, ${accesses} accesses, ${faults} faults, ${evictions} evictions, no difference (${((performance.now() - began) / 1000).toFixed(1)} s)`,
    )
  }
}
