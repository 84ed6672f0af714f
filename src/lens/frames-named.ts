/** The lenses of files with compressed data that is not deflated, by name. */
import { bunzip2 } from './bunzip2.ts'
import type { Lens } from './lens.ts'
import { rdb } from './rdb.ts'
import { unlz4 } from './unlz4.ts'
import { unxz } from './unxz.ts'
import { unzstd } from './unzstd.ts'

const lenses: readonly Lens[] = [unzstd, unxz, bunzip2, unlz4, rdb]

export function framesNamed(name: string): Lens | undefined {
  return lenses.find(lens => lens.name === name)
}
