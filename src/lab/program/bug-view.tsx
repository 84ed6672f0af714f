/** Errors of a run, and one of them at its page, its cache line and its block of the heap. */
import { numberIn } from '../link.ts'
import type { ViewProps } from '../main.tsx'
import { type Bug, frameText, hex } from './document.ts'

const PAGE = 4096
const LINE = 64
const WIDTH = 1024
const LEFT = 92

export function BugView({ bugs, place, go }: { bugs: readonly Bug[] } & ViewProps) {
  const number = numberIn(place, 'bug', 0, Math.max(0, bugs.length - 1))
  const bug = bugs[number]
  if (bug === undefined)
    return <p class="card say">Nothing wrong was found: this run made no error with its memory.</p>
  return (
    <>
      <div class="card">
        <h2>
          Errors <em>{bugs.length}</em>
        </h2>
        <ul class="bugs">
          {bugs.map((one, i) => (
            <li key={i}>
              <button type="button" aria-pressed={i === number} onClick={() => go({ bug: i })}>
                <b>{one.kind}</b> {one.frames[0] === undefined ? '' : frameText(one.frames[0])}
                {one.count > 1 && <small> × {one.count.toLocaleString('en')}</small>}
              </button>
            </li>
          ))}
        </ul>
      </div>
      <div class="card">
        <h2>{bug.message}</h2>
        <Places bug={bug} />
        {[{ text: '', frames: bug.frames }, ...bug.notes].map(({ text, frames }, i) => (
          <div key={i} class="stack">
            {text !== '' && <p>{text}</p>}
            <ol>
              {frames.map((frame, n) => (
                <li key={n}>{frameText(frame)}</li>
              ))}
            </ol>
          </div>
        ))}
      </div>
    </>
  )
}

/** Where it is. What is touched: the access, or else the block that the error is about. */
function Places({ bug: { address, size, block } }: { bug: Bug }) {
  const at = address ?? block?.start
  if (at === undefined) return null
  const page = Math.floor(at / PAGE) * PAGE
  const line = Math.floor(at / LINE) * LINE
  const lines = Math.min(4, Math.ceil((at + (address === undefined ? 1 : size) - line) / LINE))
  const inBlock = (from: number, to: number): boolean =>
    block !== undefined && from < block.start + block.size && to > block.start
  const touched = (from: number, to: number): boolean =>
    address !== undefined && from < address + size && to > address
  const kindOf = (from: number, to: number): string =>
    `${inBlock(from, to) ? 'inside' : 'outside'} ${touched(from, to) ? 'touched' : ''}`
  const box = WIDTH / (PAGE / LINE)
  const byte = WIDTH / LINE
  const below = 74
  return (
    <>
      <svg
        class="places"
        viewBox={`0 0 ${LEFT + WIDTH + 2} ${below + lines * 40}`}
        role="img"
        aria-label={`${hex(at)} at its page and cache line`}
      >
        <text class="address" x={LEFT - 8} y={30}>
          {hex(page)}
        </text>
        {Array.from({ length: PAGE / LINE }, (_, i) => {
          const from = page + i * LINE
          return (
            <rect
              key={i}
              class={kindOf(from, from + LINE)}
              x={LEFT + i * box}
              y={12}
              width={box - 1}
              height={26}
              rx={2}
            />
          )
        })}
        <path
          class="zoom"
          d={`M${LEFT + ((line - page) / LINE) * box} 40L${LEFT} ${below - 8}H${LEFT + WIDTH}L${LEFT + ((line - page) / LINE + 1) * box} 40z`}
        />
        {Array.from({ length: lines * LINE }, (_, i) => {
          const from = line + i
          const y = below + Math.floor(i / LINE) * 40
          const x = LEFT + (i % LINE) * byte
          return (
            <g key={i}>
              <rect class={kindOf(from, from + 1)} x={x} y={y} width={byte - 1} height={28} rx={2} />
              {i % LINE === 0 && (
                <text class="address" x={LEFT - 8} y={y + 18}>
                  {hex(from)}
                </text>
              )}
            </g>
          )
        })}
      </svg>
      <p class="key">
        <span>
          page {hex(page / PAGE)}, byte {at - page} of it
        </span>
        <span>cache line {(line - page) / LINE} of the page</span>
        {block !== undefined && (
          <span>
            <i class="inside" /> block {hex(block.start)}, {block.size} bytes
            {address === undefined ? '' : `; the access is ${relation(address, size, block)}`}
          </span>
        )}
        {address !== undefined && (
          <span>
            <i class="touched" /> {size} bytes accessed
          </span>
        )}
      </p>
    </>
  )
}

function relation(address: number, size: number, block: { start: number; size: number }): string {
  const end = block.start + block.size
  if (address >= end)
    return address === end ? 'right behind its end' : `${address - end} bytes behind its end`
  if (address + size <= block.start) return `${block.start - address} bytes before its start`
  return address + size > end ? 'across its end' : `at its byte ${address - block.start}`
}
