// A guest's path to a path of the host's, never one outside of the directory that it is resolved below.
//
// Components are walked one by one: `..` may not leave the directory, a symbolic link is followed here and not by the
// kernel. Somebody else who exchanges directories for links meanwhile is not guarded against, as with other WASI hosts.
import { errno, Refusal } from './errno.ts'
import { fs } from './node.ts'

const { lstatSync, readlinkSync, realpathSync } = fs

const mostLinks = 40

/** The host's path for `path` below `base`. A link in last place is followed if `follow`. Throws Refusal. */
export function resolveBelow(base: string, path: string, follow: boolean): string {
  if (path === '') throw new Refusal(errno.noent)
  if (path.startsWith('/')) throw new Refusal(errno.notcapable)
  if (path.includes('\0')) throw new Refusal(errno.ilseq)
  const todo = path.split('/').reverse()
  const done: string[] = []
  const directory = path.endsWith('/')
  for (let links = 0; todo.length > 0; ) {
    const name = todo.pop() as string
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (done.pop() === undefined) throw new Refusal(errno.notcapable)
      continue
    }
    const last = !todo.some(part => part !== '' && part !== '.')
    done.push(name)
    if (last && !follow && !directory) break
    const here = join(base, done)
    const stat = lstatSync(here, { throwIfNoEntry: false })
    if (stat === undefined) {
      if (last) break
      throw new Refusal(errno.noent)
    }
    if (stat.isSymbolicLink()) {
      if (++links > mostLinks) throw new Refusal(errno.loop)
      done.pop()
      const target = below(base, readlinkSync(here), done)
      for (const part of target.split('/').reverse()) todo.push(part)
    } else if (!last && !stat.isDirectory()) throw new Refusal(errno.notdir)
  }
  return directory ? `${join(base, done)}/` : join(base, done)
}

const join = (base: string, names: string[]): string =>
  names.length === 0 ? base : `${base}/${names.join('/')}`

// An absolute link is good if it leads back below the directory.
function below(base: string, target: string, done: string[]): string {
  if (!target.startsWith('/')) return target
  const root = realpathSync(base)
  if (target !== root && !target.startsWith(`${root}/`)) throw new Refusal(errno.notcapable)
  done.length = 0
  return target.slice(root.length + 1)
}
