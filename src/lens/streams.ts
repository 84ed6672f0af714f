/** The lenses of compressed data and of members of files, by name. */
import { bmpNamed } from './bmp.ts'
import { framesNamed } from './frames-named.ts'
import { gitObjectNamed } from './git-object.ts'
import { inflatedNamed } from './gunzip.ts'
import type { Lens } from './lens.ts'
import { pngNamed } from './png.ts'
import { rangeNamed } from './range.ts'
import { tiffNamed } from './tiff.ts'

export function streamsNamed(name: string): Lens | undefined {
  return (
    inflatedNamed(name) ??
    framesNamed(name) ??
    rangeNamed(name) ??
    pngNamed(name) ??
    bmpNamed(name) ??
    tiffNamed(name) ??
    gitObjectNamed(name)
  )
}
