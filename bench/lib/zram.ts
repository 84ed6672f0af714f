// zram swap on a device of its own, and pushing one process out to it.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import * as fds from '../../src/sys/fd.ts'
import { arena, call, putAddress } from '../../src/sys/ffi.ts'
import { atEnd } from './cleanup.ts'
import { Skip } from './cc.ts'
import type { Target } from './target.ts'

const processMadvise = 440
const MADV_PAGEOUT = 21

export class Zram {
  readonly #folder: string
  readonly #empty: number
  readonly #vector = arena(4096)
  readonly close: () => void

  private constructor(id: number, algorithm: string) {
    this.#folder = `/sys/block/zram${id}`
    const device = `/dev/zram${id}`
    this.close = atEnd(() => {
      if (readFileSync('/proc/swaps', 'latin1').includes(`${device} `))
        execFileSync('swapoff', [device], { timeout: 120_000 })
      writeFileSync(`${this.#folder}/reset`, '1')
      writeFileSync('/sys/class/zram-control/hot_remove', String(id))
    })
    try {
      writeFileSync(`${this.#folder}/comp_algorithm`, algorithm)
      writeFileSync(`${this.#folder}/disksize`, '8G')
      execFileSync('mkswap', [device], { stdio: 'ignore', timeout: 30_000 })
      execFileSync('swapon', ['-p', '100', device], { timeout: 30_000 })
    } catch (error) {
      this.close()
      throw new Skip(`zram: ${(error as Error).message.split('\n')[0]}`)
    }
    this.#empty = this.used()
  }

  /** Throws Skip with the reason where there is no zram. */
  static open(algorithm = 'lzo-rle'): Zram {
    const control = '/sys/class/zram-control/hot_add'
    if (!existsSync(control)) throw new Skip('zram: the kernel has none')
    let id: number
    try {
      id = Number(readFileSync(control, 'latin1'))
    } catch (error) {
      throw new Skip(`zram: ${(error as Error).message}`)
    }
    return new Zram(id, algorithm)
  }

  /** Bytes of memory that the store takes, beyond an empty one's. */
  used(): number {
    const words = readFileSync(`${this.#folder}/mm_stat`, 'latin1').trim().split(/\s+/).map(Number)
    return (words[2] as number) - (this.#empty ?? 0)
  }

  /** Swaps a process's private anonymous memory out. */
  pageOut(target: Target): void {
    const pidfd = fds.pidfdOpen(target.pid)
    for (let tries = 0, before = Number.POSITIVE_INFINITY; tries < 4; tries++) {
      const { rssAnon } = target.figures()
      if (rssAnon > before * 0.9 || rssAnon < 4 << 20) break
      before = rssAnon
      for (const line of readFileSync(`/proc/${target.pid}/maps`, 'latin1').split('\n')) {
        const fields = line.split(/\s+/)
        if (fields[1] !== 'rw-p' || fields[4] !== '0' || (fields[5] ?? '') === '[stack]') continue
        const [start = 0, end = 0] = (fields[0] as string).split('-').map(h => Number.parseInt(h, 16))
        putAddress(this.#vector.u32, 0, start)
        putAddress(this.#vector.u32, 2, end - start)
        call(processMadvise, pidfd, this.#vector.address, 1, MADV_PAGEOUT, 0)
      }
    }
    fds.close(pidfd)
  }
}

/** A zram, or why there is none. */
export function zramOrReason(): Zram | string {
  try {
    return Zram.open()
  } catch (error) {
    if (error instanceof Skip) return error.message
    throw error
  }
}

export const pageCluster = (): string => readFileSync('/proc/sys/vm/page-cluster', 'latin1').trim()
