/** How memory came to hold a file's bytes: the lens says it, and for plain copies where they begin. */

/** Ways of copying, from the plainest on. */
export const patterns = [
  'aligned',
  'shifted',
  'widened',
  'converted',
  'decompressed',
  'parsed',
  'columns',
  'pieces',
  'packed',
] as const
export type Pattern = (typeof patterns)[number]

/** What a pattern is, for people, in the order of `patterns`. */
export const patternTexts: Readonly<Record<Pattern, string>> = {
  aligned: 'plain copy, on page boundaries',
  shifted: 'plain copy, shifted by some bytes',
  widened: 'text in another encoding',
  converted: 'numbers of another type',
  decompressed: 'decompressed',
  parsed: 'numbers parsed from text',
  columns: 'columns and arrays taken out of a format',
  pieces: 'put together from pieces',
  packed: 'compressed by Lethe',
}

/** The pattern of a lens by its name; `aligned` matters only for verbatim. A composition is what its last lens does. */
export function patternOf(lens: string, aligned: boolean): Pattern {
  const last = lens.slice(lens.lastIndexOf('|') + 1)
  if (/^(verbatim$|range\b)/.test(last)) return aligned ? 'aligned' : 'shifted'
  if (/^(recipe|zeros)$/.test(last)) return 'pieces'
  if (last === 'packed') return 'packed'
  if (/^(numbers|csv|ndjson|scanf)\b/.test(last)) return 'parsed'
  if (/^(utf|latin|newlines)/.test(last)) return 'widened'
  if (/^(gunzip|inflate|un[a-z0-9]+|png|bmp|tiff|rdb|git-object)\b/.test(last)) return 'decompressed'
  if (/^(parquet|arrow|hdf5|npy|npz|safetensors|array)\b/.test(last)) return 'columns'
  return 'converted'
}
