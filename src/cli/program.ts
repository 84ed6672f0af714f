// The whole command line, as definitions: help, completion and the man page are made from it.
import type { Command } from 'commander'
import { attachCommand } from './attach.ts'
import { auditCommand } from './audit.ts'
import { checkCommand } from './check.ts'
import { completionCommand } from './completion.ts'
import { daemonCommand } from './daemon.ts'
import { demoCommand } from './demo.ts'
import { detachCommand } from './detach.ts'
import { doctorCommand } from './doctor.ts'
import { withCommands } from './frame.ts'
import { labCommand } from './lab.ts'
import { machineCommand } from './machine.ts'
import { mallocCommand } from './malloc.ts'
import { manCommand } from './man.ts'
import { runCommand } from './run.ts'
import { statusCommand } from './status.ts'
import { topCommand } from './top.ts'

/** All commands. Parsing throws CommanderError instead of exiting. */
export function program(): Command {
  return withCommands([
    auditCommand(),
    attachCommand(),
    detachCommand(),
    statusCommand(),
    topCommand(),
    runCommand(),
    daemonCommand(),
    checkCommand(),
    doctorCommand(),
    demoCommand(),
    mallocCommand(),
    machineCommand(),
    labCommand(),
    completionCommand(program),
    manCommand(program),
  ])
}
