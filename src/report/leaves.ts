/** The memory in parts, for the treemap, and the parts in groups, as the reader likes. */
import type { AuditReport } from '../audit/audit.ts'
import { PAGE } from '../audit/words.ts'
import { kindColours, kindNames, type Kind, mappingName, patternColours, patternNames } from './kinds.ts'

/** A part of the memory that has one origin in one mapping, or at one site. */
export interface Leaf {
  readonly mapping: string
  readonly site: string
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

type Key = 'mapping' | 'site' | 'file' | 'pattern' | 'lens' | 'folder'

export interface Grouping {
  readonly name: string
  readonly keys: readonly Key[]
}

export const groupings: readonly Grouping[] = [
  { name: 'Mapping', keys: ['mapping', 'file', 'lens'] },
  { name: 'File', keys: ['folder', 'file', 'mapping'] },
  { name: 'Lens', keys: ['pattern', 'lens', 'file'] },
]
export const bySite: Grouping = { name: 'Site', keys: ['site', 'file', 'lens'] }
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
      site: '',
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
        site: name,
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

/** The same memory by who asked for it: bytes of files by their sites, all else as it is. */
export function leavesBySite(report: AuditReport): Leaf[] {
  const of = new Map(report.files.map(file => [`${file.lens} ${file.path}`, file]))
  const left = new Map([...of].map(([key, { bytes }]) => [key, bytes]))
  const leaves = leavesOf(report).filter(({ site }) => site !== '')
  const add = (site: string, key: string, bytes: number): void => {
    const file = of.get(key)
    if (file === undefined || bytes < 1) return
    leaves.push({
      mapping: '',
      site,
      file: file.path || 'zeros',
      folder: '',
      lens: file.lens,
      pattern: patternNames[file.pattern],
      colour: patternColours[file.pattern],
      bytes,
    })
  }
  for (const { name, sources } of report.sites?.list ?? [])
    for (const { path, lens, bytes } of sources) {
      const key = `${lens} ${path}`
      add(name, key, bytes)
      left.set(key, (left.get(key) ?? 0) - bytes)
    }
  for (const [key, bytes] of left) add('nobody known', key, bytes)
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
