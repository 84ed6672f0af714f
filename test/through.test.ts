import { describe, expect, it } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { compose, through } from '../src/lens/through.ts'
import { verbatim } from '../src/lens/verbatim.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

describe('verbatim@3|verbatim@4', () => lensContract(compose(verbatim(3), verbatim(4))))

describe('a lens over a backing', () => {
  const bytes = Uint8Array.from({ length: 20 }, (_, i) => i)

  it('is a backing: size, short reads at the end, nothing beyond it', () => {
    const view = through(through(bytesBacking(bytes), verbatim(5)), verbatim(2))
    const into = new Uint8Array(8).fill(9)
    expect(view.size).toBe(13)
    expect(view.read(9, into)).toBe(4)
    expect([...into]).toEqual([16, 17, 18, 19, 9, 9, 9, 9])
    expect(view.read(13, into)).toBe(0)
    expect(view.read(99, into)).toBe(0)
    expect(() => view.read(-1, into)).toThrow(LensError)
  })

  it('has an identity with the lens in it, and holds and closes what it is over', () => {
    let closed = 0
    const backing = { ...bytesBacking(bytes), close: () => closed++ }
    const view = through(through(backing, lensNamed('verbatim@5')), lensNamed('verbatim'))
    expect(view.identity).toEqual({
      ...backing.identity,
      inode: `${backing.identity.inode}|verbatim@5|verbatim`,
    })
    expect(view.hold().leased).toBe(true)
    view.close()
    expect(closed).toBe(1)
  })
})

describe('the catalogue', () => {
  it('gives the same lens for the same name', () => {
    expect(lensNamed('verbatim@7|verbatim')).toBe(lensNamed('verbatim@7|verbatim'))
  })

  it('refuses names that nothing is called by', () => {
    for (const name of [
      '',
      '|',
      'verbatim|',
      'verbatim@',
      'verbatim@01',
      'verbatim@-1',
      'nonsense|verbatim',
    ]) {
      expect(() => lensNamed(name)).toThrow('there is no lens of this name')
    }
  })
})
