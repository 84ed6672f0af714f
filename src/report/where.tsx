/** Where the memory is: a treemap whose areas are bytes, grouped as the reader likes. A click on a group goes into it. */
import { hierarchy, type HierarchyRectangularNode, treemap } from 'd3-hierarchy'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { AuditReport } from '../audit/audit.ts'
import { formatBytes, PAGE, percent } from '../audit/words.ts'
import {
  baseName,
  kindColours,
  kindNames,
  type Kind,
  mappingName,
  patternColours,
  patternNames,
} from './kinds.ts'
import { Tip, type TipPlace } from './tip.tsx'

/** A part of the memory that has one origin in one mapping. */
interface Leaf {
  readonly mapping: string
  readonly file: string
  readonly folder: string
  readonly lens: string
  readonly pattern: string
  readonly colour: string
  readonly bytes: number
}

export interface Node {
  readonly name: string
  readonly detail?: string
  readonly colour?: string
  readonly bytes: number
  readonly children?: readonly Node[]
}

type Key = 'mapping' | 'file' | 'pattern' | 'lens' | 'folder'

const groupings: readonly { readonly name: string; readonly keys: readonly Key[] }[] = [
  { name: 'Mapping', keys: ['mapping', 'file', 'lens'] },
  { name: 'File', keys: ['folder', 'file', 'mapping'] },
  { name: 'Lens', keys: ['pattern', 'lens', 'file'] },
]
/** Children of one node beyond so many are one. */
const MOST_CHILDREN = 60

export function leavesOf({ mappings, files, parts }: AuditReport): Leaf[] {
  const leaves: Leaf[] = []
  for (const part of parts) {
    const file = files[part.file]
    const mapping = mappings[part.mapping]
    if (file === undefined || mapping === undefined) continue
    leaves.push({
      mapping: mappingName(mapping),
      file: file.path || 'zeros',
      folder: file.path.slice(0, file.path.lastIndexOf('/')) || '/',
      lens: file.lens,
      pattern: patternNames[file.pattern],
      colour: patternColours[file.pattern],
      bytes: part.bytes,
    })
  }
  const others: readonly Kind[] = ['zero', 'duplicate', 'unexplained']
  for (const mapping of mappings)
    for (const kind of others) {
      if (mapping[kind] === 0) continue
      const name = kindNames[kind]
      leaves.push({
        mapping: mappingName(mapping),
        file: name,
        folder: name,
        lens: name,
        pattern: name,
        colour: kindColours[kind],
        bytes: mapping[kind] * PAGE,
      })
    }
  return leaves
}

export function tree(leaves: readonly Leaf[], keys: readonly Key[], name = 'all'): Node {
  const bytes = leaves.reduce((sum, leaf) => sum + leaf.bytes, 0)
  const [key, ...rest] = keys
  const colour = leaves[0]?.colour
  const uniform = leaves.every(leaf => leaf.colour === colour)
  if (key === undefined) return { name, bytes, ...(colour === undefined ? {} : { colour }) }
  const groups = new Map<string, Leaf[]>()
  for (const leaf of leaves) {
    const group = groups.get(leaf[key])
    if (group === undefined) groups.set(leaf[key], [leaf])
    else group.push(leaf)
  }
  // A level that says nothing new is left out.
  if (groups.size === 1 && name !== 'all') {
    const [only = name] = groups.keys()
    const node = tree(leaves, rest, name)
    return node.children === undefined && only !== name ? { ...node, detail: node.detail ?? only } : node
  }
  const all = [...groups].map(([child, some]) => tree(some, rest, child)).sort((a, b) => b.bytes - a.bytes)
  const tail = all.slice(MOST_CHILDREN)
  const children =
    tail.length < 2
      ? all
      : [
          ...all.slice(0, MOST_CHILDREN),
          {
            name: `${tail.length} more`,
            bytes: tail.reduce((sum, one) => sum + one.bytes, 0),
            colour: 'var(--soft)',
          },
        ]
  return { name, bytes, children, ...(uniform && colour !== undefined ? { colour } : {}) }
}

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
  const leaves = useMemo(() => leavesOf(report), [report])
  const root = useMemo(() => tree(leaves, groupings[grouping]?.keys ?? []), [leaves, grouping])
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
          {groupings.map(({ name }, i) => (
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
