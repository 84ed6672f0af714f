/**
 * What the page shows is in its address: `#machine?scenario=fork&step=12`. So a link leads to a state, and back and forward work. Views
 * read their own parameters; what is not there is the view's default.
 */
export interface Place {
  readonly view: string
  readonly values: Readonly<Record<string, string>>
}

export function parsePlace(hash: string): Place {
  const [view = '', query = ''] = hash.replace(/^#/, '').split('?')
  return { view, values: Object.fromEntries(new URLSearchParams(query)) }
}

export function formatPlace({ view, values }: Place): string {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== '')).toString()
  return `#${view}${query === '' ? '' : `?${query}`}`
}

/** A whole number in a place, within bounds. */
export function numberIn(place: Place, name: string, otherwise: number, most: number): number {
  const value = Number(place.values[name] ?? otherwise)
  return Number.isInteger(value) ? Math.min(Math.max(value, 0), most) : otherwise
}
