// Loaders for the bench and the stress: our own C programs in test/guests/replay, and data for them from a seed.
//
//   LOADER FILE QUERIES [JUMP]    says `loaded …` on its standard error, then answers queries, JUMP at a time in one fiftieth of the records
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { guest } from '../guest/guests.ts'

export interface Loader {
  readonly name: string
  /** Paths of the program and of its data. */
  readonly wasm: string
  readonly data: string
}

type Random = (below: number) => number

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}

const letters = 'abcdefghijklmnop'

/** Lines of data for 1 MB or so of text each, times `scale`. */
const makers: Readonly<Record<string, (random: Random, scale: number) => string | Buffer>> = {
  kv: (r, scale) => lines(400_000 * scale, () => `${r(1e6)}=${r(1e6) / 100}:name${r(1e6)};`),
  csv: (r, scale) =>
    lines(
      150_000 * scale,
      () => `name ${r(1e6)},${r(1e5) / 100},"a ""quoted"" text, ${r(1e6)}",,${'abcdefgh'.slice(r(8))}`,
    ),
  json: (r, scale) =>
    `[${lines(40_000 * scale, i =>
      JSON.stringify({
        id: i,
        name: `n${r(1e6)}`,
        tags: [`a${r(100)}`, 'b'],
        price: r(1e5) / 100,
        ok: r(2) === 0,
        sub: { x: r(1000), y: null },
      }),
    )
      .trimEnd()
      .replaceAll('\n', ',\n')}]`,
  dictionary: (r, scale) =>
    lines(30_000 * scale, () =>
      Array.from({ length: 10 }, () => `${letters[r(16)]}${r(4e5).toString(36)}`).join(' '),
    ),
  gzip: (r, scale) =>
    gzipSync(lines(200_000 * scale, () => `${letters[r(16)]}${r(1e9).toString(36)} ${r(1e7) / 1000}`)),
}

export const loaderNames: readonly string[] = Object.keys(makers)

function lines(count: number, line: (i: number) => string): string {
  const parts: string[] = []
  for (let i = 0; i < count; i++) parts.push(line(i), '\n')
  return parts.join('')
}

/** Writes data for a loader. */
export function write(name: string, file: string, seed: number, scale: number): void {
  const make = makers[name]
  if (make === undefined) throw new Error(`there is no loader '${name}'`)
  writeFileSync(file, make(randomOf(seed), scale))
}

/** Each loader compiled, with its data in `folder`, one after the other as they are asked for. */
export function* loaders(folder: string, scale: number, seed = 1): Generator<Loader> {
  for (const name of loaderNames) {
    const data = join(folder, `${name}.data`)
    write(name, data, seed, scale)
    yield { name, wasm: guest(`replay/${name}`, '-lm'), data }
  }
}
