/** The lenses of compressed files that have no deflated data in them, by name. */
import { bunzip2 } from './bunzip2.ts'
import type { Lens } from './lens.ts'
import { unlz4 } from './unlz4.ts'
import { unxz } from './unxz.ts'
import { unzstd } from './unzstd.ts'

const lenses: readonly Lens[] = [unzstd, unxz, bunzip2, unlz4]

export function framesNamed(name: string): Lens | undefined {
  return lenses.find(lens => lens.name === name)
}
