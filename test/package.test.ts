/** What `npm publish` would put into the package, and what a program that installs it can import. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { root } from './cli-helpers.ts'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  bin: Record<string, string>
  man: string
  exports: Record<string, string | { types: string; default: string }>
}

describe('the package', () => {
  let files: Set<string>
  beforeAll(() => {
    const words = ['pack', '--dry-run', '--json', '--ignore-scripts']
    const listed = execFileSync('npm', words, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const made = JSON.parse(listed) as
      | { files: { path: string }[] }[]
      | Record<string, { files: { path: string }[] }>
    files = new Set(Object.values(made).flatMap(one => one.files.map(({ path }) => path)))
  })

  test('has what package.json names', () => {
    const targets = Object.values(manifest.exports).flatMap(one =>
      typeof one === 'string' ? one : Object.values(one),
    )
    for (const path of [...targets, ...Object.values(manifest.bin), manifest.man].map(one =>
      one.replace('./', ''),
    ))
      expect(
        [...files].some(
          file => file === path || (path.includes('*') && file.startsWith(path.split('*')[0] ?? '')),
        ),
      ).toBe(true)
  })
  test('has every file that its own pages point at', () => {
    const missing: string[] = []
    for (const page of [...files].filter(path => path.endsWith('.md'))) {
      const text = readFileSync(join(root, page), 'utf8')
      for (const [, link = ''] of text.matchAll(/\]\(([^)#:]+)[^)]*\)/g)) {
        const path = join(page, '..', link)
        if (![...files].some(file => file === path || file.startsWith(`${path}/`)))
          missing.push(`${page}: ${link}`)
      }
    }
    expect(missing).toEqual([])
  })
  test('has no sources, tests or results', () => {
    expect([...files].filter(path => /^(src|test|bench|scripts|node_modules)\//.test(path))).toEqual([])
  })
})

test('an error that nobody catches shows a line of code, not all of it', () => {
  for (const name of ['index', 'pager'])
    for (const line of readFileSync(join(root, 'dist/lethe', `${name}.js`), 'utf8').split('\n'))
      expect(line.length).toBeLessThan(1500)
})

test('the public surface of lethe', async () => {
  expect(Object.keys(await import('../src/library/index.ts')).sort()).toEqual(
    (
      'Memory MemoryError Region arrow base64 bunzip2 bytes crlf csv elements file gunzip hdf5 hex latin1 lens matrix ndjson npy npz ' +
      'object parquet rdb safetensors scanf slice toBase64 toHex tsv unlz4 unxz unzstd utf16 utf32 utf8 verbatim whitespace widen16 ' +
      'widen32 zlib'
    ).split(' '),
  )
})
