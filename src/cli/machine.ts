// lethe machine: the simulated machine, from one address to a trace of millions.
import type { Command } from 'commander'
import { cacheCommand } from './machine-cache.ts'
import { dineroCommand } from './machine-dinero.ts'
import { machineWith } from './machine-frame.ts'
import { policiesCommand } from './machine-policies.ts'
import { programCommand } from './machine-program.ts'
import { runTraceCommand } from './machine-run.ts'
import { translateCommand } from './machine-translate.ts'

export const machineCommand = (): Command =>
  machineWith([
    translateCommand(),
    runTraceCommand(),
    policiesCommand(),
    programCommand(),
    cacheCommand(),
    dineroCommand(),
  ])
