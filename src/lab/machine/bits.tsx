/** An address as its bits, with what they are for above and below. */
export interface Field {
  readonly name: string
  readonly bits: number
  readonly value?: number | undefined
}

export function Bits({
  name,
  value,
  above,
  below,
}: {
  name: string
  value: number | undefined
  above: readonly Field[]
  below: readonly Field[]
}) {
  const width = above.reduce((sum, { bits }) => sum + bits, 0)
  const digits = value?.toString(2).padStart(width, '0')
  const edges = new Set<number>()
  let at = 0
  for (const { bits } of above) edges.add((at += bits))
  const row = (fields: readonly Field[], side: string) => (
    <div class={`fields ${side}`}>
      {fields
        .filter(({ bits }) => bits > 0)
        .map(field => (
          <span key={field.name} style={{ flex: field.bits }}>
            {field.name}
            {field.value === undefined ? '' : <b>{hex(field.value)}</b>}
          </span>
        ))}
    </div>
  )
  return (
    <div class="bits">
      <div class="name">
        {name} <b>{value === undefined ? '' : hex(value, Math.ceil(width / 4))}</b>
      </div>
      {row(above, 'above')}
      <div class="digits">
        {Array.from({ length: width }, (_, i) => (
          <i key={i} class={edges.has(i) ? 'edge' : ''}>
            {digits?.[i] ?? '·'}
          </i>
        ))}
      </div>
      {below.length > 0 && row(below, 'below')}
    </div>
  )
}

export const hex = (value: number, digits = 1): string => `0x${value.toString(16).padStart(digits, '0')}`
