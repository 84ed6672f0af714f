// fanotify: which files are opened, by whom. Notification only: nobody waits for us. Needs CAP_SYS_ADMIN.
// An event carries a descriptor of the opened file, which must be closed, and the pid of who opened it.
// Source: include/uapi/linux/fanotify.h, fanotify(7).
import { readFileSync, readlinkSync } from 'node:fs'
import { arena, call, nr } from './ffi.ts'

const FAN_OPEN = 0x20
const INIT = 0x1 | 0x2 | 0x10 // CLOEXEC, NONBLOCK, UNLIMITED_QUEUE; class 0: notification
const FILE_FLAGS = 0o2000000 // O_RDONLY | O_CLOEXEC
const MARK_FILESYSTEM = 0x1 | 0x100 // ADD
const MARK_MOUNT = 0x1 | 0x10
const AT_FDCWD = -100
/** Bytes of `struct fanotify_event_metadata`: length, version, mask at 8, fd at 16, pid at 20. */
const eventBytes = 24
const most = 512

const path = arena(4096)
const events = arena(most * eventBytes)

/** A new group, or a negative errno. */
export function fanotifyInit(): number {
  return call(nr.fanotify_init, INIT, FILE_FLAGS)
}

/** Asks for the opens of all files on the file system (or, where that is refused, the mount) that `mountPoint` is on. */
export function markOpens(group: number, mountPoint: string): number {
  const bytes = Buffer.from(`${mountPoint}\0`)
  if (bytes.length > path.bytes.length) return -36 // ENAMETOOLONG
  path.bytes.set(bytes)
  const done = call(nr.fanotify_mark, group, MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, path.address)
  return done === 0 ? done : call(nr.fanotify_mark, group, MARK_MOUNT, FAN_OPEN, AT_FDCWD, path.address)
}

/** Mount points of file systems that hold files worth reading, one for each device. */
export function fileSystems(): string[] {
  const byDevice = new Map<string, string>()
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , device = '', , at = ''] = before.split(' ')
    const [type = ''] = after.split(' ')
    if (
      !/^(ext\d|xfs|btrfs|tmpfs|overlay|f2fs|zfs|nfs4?|vfat|exfat|fuse.*|9p|virtiofs|bcachefs|erofs|squashfs|iso9660)$/.test(
        type,
      )
    )
      continue
    // Octal escapes stand for blanks and backslashes.
    if (!byDevice.has(device))
      byDevice.set(
        device,
        at.replace(/\\(\d{3})/g, (_, n: string) => String.fromCharCode(Number.parseInt(n, 8))),
      )
  }
  return [...byDevice.values()]
}

/** Reads what is there and calls `opened` for each file that `wanted` accepts by pid. Returns the number of events. */
export function readOpens(
  group: number,
  wanted: (pid: number) => boolean,
  opened: (path: string, pid: number) => void,
): number {
  let count = 0
  for (;;) {
    const n = call(nr.read, group, events.address, most * eventBytes)
    if (n <= 0) return count
    for (let at = 0; at + eventBytes <= n; at += events.u32[at / 4] as number) {
      const fd = (events.u32[at / 4 + 4] as number) | 0
      const pid = (events.u32[at / 4 + 5] as number) | 0
      count++
      if (fd < 0) continue // the queue was full
      if (wanted(pid)) {
        try {
          opened(readlinkSync(`/proc/self/fd/${fd}`), pid)
        } catch {
          // unlinked in a way that has no name
        }
      }
      call(nr.close, fd)
    }
  }
}
