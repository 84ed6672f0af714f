// What `lethe check` runs a program with. The build puts all of it into one file: to find and read a hundred takes longer than a short program.
export * from '../check/index.ts'
export { openDoor } from '../guest/door.ts'
export { GuestError } from '../guest/errors.ts'
export { load } from '../guest/load.ts'
export { parseMalloc } from '../guest/malloc-functions.ts'
export { exitNow, isHere } from '../sys/ffi.ts'
