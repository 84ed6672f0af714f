/** Every lens by its name. A name is complete: the same name makes the same lens in another process. */
import { arrayNamed } from './arrays.ts'
import { codesNamed } from './codes.ts'
import { csvNamed } from './csv.ts'
import { elementsNamed } from './elements.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'
import { parquetNamed } from './parquet.ts'
import { scanfNamed } from './scanf.ts'
import { streamsNamed } from './streams.ts'
import { compose } from './through.ts'
import { numbersNamed } from './numbers.ts'
import { ndjsonNamed } from './ndjson.ts'
import { ownNamed } from './own.ts'
import { packedNamed } from './packed.ts'
import { tensorsNamed } from './tensors.ts'
import { textNamed } from './text.ts'
import { verbatimNamed } from './verbatim.ts'

/** Makes the lens of a name, if the name is of this family. */
export type Family = (name: string) => Lens | undefined

const families: readonly Family[] = [
  verbatimNamed,
  textNamed,
  elementsNamed,
  codesNamed,
  numbersNamed,
  arrayNamed,
  csvNamed,
  ndjsonNamed,
  scanfNamed,
  parquetNamed,
  tensorsNamed,
  streamsNamed,
  packedNamed,
  ownNamed,
]

const made = new Map<string, Lens>()

/**
 * The lens of a name; `a|b` is b over what a makes. The same object each time, so that what a lens knows of a
 * backing (checkpoints, rows) is there for all who ask. LensError 'unsupported' if there is none.
 */
export function lensNamed(name: string): Lens {
  let lens = made.get(name)
  if (!lens) {
    const bar = name.lastIndexOf('|')
    lens = bar < 0 ? single(name) : compose(lensNamed(name.slice(0, bar)), lensNamed(name.slice(bar + 1)))
    made.set(name, lens)
  }
  return lens
}

function single(name: string): Lens {
  for (const family of families) {
    const lens = family(name)
    if (lens) return lens
  }
  throw new LensError('unsupported', name, 'there is no lens of this name')
}
