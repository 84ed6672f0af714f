/** What the pointer is on, said beside it. One tip for the page; whoever shows it hides it. */
import type { ComponentChildren } from 'preact'

export interface TipPlace {
  readonly x: number
  readonly y: number
  readonly content: ComponentChildren
}

export function Tip({ place }: { readonly place: TipPlace | undefined }) {
  if (place === undefined) return null
  const right = place.x > innerWidth - 380
  const style = {
    top: `${place.y + 16}px`,
    ...(right ? { right: `${innerWidth - place.x + 8}px` } : { left: `${place.x + 12}px` }),
  }
  return (
    <div class="tip" style={style} role="status">
      {place.content}
    </div>
  )
}
