/** The pager's contract on the simulated machine, with memory for some of the pages only. */
import { lensNamed } from '../../src/lens/catalogue.ts'
import { check } from '../../src/machine/check.ts'
import { Machine } from '../../src/machine/machine.ts'
import { mmuContract, type PagedMemory } from '../mmu-contract.ts'

function machineMemory(given: object): Promise<PagedMemory> {
  const machine = new Machine(given)
  const { pid } = machine.spawn('program')
  const { pageSize } = machine.config
  const vpn = (at: number): number => Math.floor(at / pageSize)
  return Promise.resolve({
    pageSize,
    zeros: pages => machine.mmap(pid, { length: pages * pageSize }),
    explained(file) {
      const source = machine.lens(machine.file('notes', file), lensNamed('latin1-utf16'))
      return machine.mmap(pid, { length: file.length * 2, source })
    },
    read: (at, length) => Promise.resolve(machine.load(pid, at, length).bytes),
    write(at, bytes) {
      machine.store(pid, at, bytes)
      return Promise.resolve()
    },
    drop(at) {
      machine.drop(pid, at)
    },
    remove(at, pages) {
      machine.remove(pid, at, pages * pageSize)
    },
    state: at => machine.pageState(pid, vpn(at)),
    resident: at => (machine.process(pid).pages.get(vpn(at))?.frame ?? -1) >= 0,
    close() {
      check(machine, 2)
      return Promise.resolve()
    },
  })
}

mmuContract('the simulated machine, x86-64', () => machineMemory({ preset: 'x86-64', frames: 64 }))
mmuContract('the simulated machine, p6 with a FIFO of 24 frames', () =>
  machineMemory({ preset: 'p6', frames: 24, policy: 'fifo' }),
)
