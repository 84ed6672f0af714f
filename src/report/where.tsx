/** Where the memory is: a treemap whose areas are bytes, grouped as the reader likes. A click on a group goes into it. */
import { hierarchy, type HierarchyRectangularNode, treemap } from 'd3-hierarchy'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { AuditReport } from '../audit/audit.ts'
import { formatBytes, percent } from '../audit/words.ts'
import { baseName } from './kinds.ts'
import { bySite, groupings, leavesBySite, leavesOf, type Node, tree } from './leaves.ts'
import { Tip, type TipPlace } from './tip.tsx'

const short = (name: string): string => (name.startsWith('/') && name.length > 1 ? baseName(name) : name)

export function Where({ report }: { readonly report: AuditReport }) {
  const [grouping, setGrouping] = useState(0)
  const [path, setPath] = useState<readonly string[]>([])
  const [tip, setTip] = useState<TipPlace>()
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    if (box.current === null) return
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)))
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  const choices = report.sites === undefined ? groupings : [...groupings, bySite]
  const chosen = choices[grouping]
  const leaves = useMemo(
    () => (chosen === bySite ? leavesBySite(report) : leavesOf(report)),
    [report, chosen === bySite],
  )
  const root = useMemo(() => tree(leaves, chosen?.keys ?? []), [leaves, grouping])
  let shown = root
  for (const name of path) shown = shown.children?.find(child => child.name === name) ?? shown
  const height = Math.max(300, Math.min(460, width * 0.4))
  const nodes = useMemo(() => {
    if (width === 0) return []
    const laid = treemap<Node>()
      .size([width, height])
      .paddingInner(2)
      .paddingTop(node => (node.depth > 0 && node.children !== undefined ? 21 : 0))
      .round(true)(
      hierarchy(shown, node => [...(node.children ?? [])])
        .sum(node => (node.children === undefined ? node.bytes : 0))
        .sort((a, b) => (b.value ?? 0) - (a.value ?? 0)),
    )
    return laid.descendants().filter(node => node.depth > 0 && node.depth < 3)
  }, [shown, width, height])
  const say = (node: HierarchyRectangularNode<Node>) => (event: MouseEvent) =>
    setTip({
      x: event.clientX,
      y: event.clientY,
      content: (
        <>
          <b>{node.data.name}</b>
          {node.data.detail === undefined ? null : <div>{node.data.detail}</div>}
          <div>
            {formatBytes(node.data.bytes)} · {percent(node.data.bytes, root.bytes)} of the memory
          </div>
          {node.parent !== null && node.parent.depth > 0 ? (
            <div class="soft">in {short(node.parent.data.name)}</div>
          ) : null}
        </>
      ),
    })
  return (
    <section class="card">
      <h2>
        Where the memory is
        <span class="choices">
          {choices.map(({ name }, i) => (
            <button
              key={name}
              type="button"
              aria-pressed={i === grouping}
              onClick={() => {
                setGrouping(i)
                setPath([])
              }}
            >
              {name}
            </button>
          ))}
        </span>
        <span class="crumbs">
          {path.length === 0 ? null : (
            <>
              <button type="button" class="link" onClick={() => setPath([])}>
                all
              </button>
              {path.map((name, i) => (
                <button key={name} type="button" class="link" onClick={() => setPath(path.slice(0, i + 1))}>
                  {' › '}
                  {short(name)}
                </button>
              ))}
            </>
          )}
        </span>
      </h2>
      <div class="treemap" ref={box} style={{ height: `${height}px` }} onMouseLeave={() => setTip(undefined)}>
        {nodes.map(node => {
          const [w, h] = [node.x1 - node.x0, node.y1 - node.y0]
          const open = node.data.children !== undefined && node.depth === 1
          return (
            <div
              key={`${node.parent?.data.name}|${node.data.name}`}
              class={open ? 'group' : 'leaf'}
              style={{
                left: `${node.x0}px`,
                top: `${node.y0}px`,
                width: `${w}px`,
                height: `${h}px`,
                '--fill': node.data.colour ?? 'var(--soft)',
              }}
              onMouseMove={say(node)}
              onClick={() => {
                const into = node.depth === 1 ? node : node.parent
                if (into?.data.children !== undefined) setPath([...path, into.data.name])
                setTip(undefined)
              }}
            >
              {w > 44 && h > 18 ? (
                <span>
                  <b>{short(node.data.name)}</b> {w > 110 || h > 36 ? formatBytes(node.data.bytes) : ''}
                </span>
              ) : null}
            </div>
          )
        })}
      </div>
      <Tip place={tip} />
    </section>
  )
}
