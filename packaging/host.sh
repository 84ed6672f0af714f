#!/bin/sh
# Entry of the container image. A process can only be served from its own mount and pid namespaces, so Lethe must run in the
# machine's: this puts the program, with its node, on the machine's disk and starts it there.
#   /host             the machine's root, mounted by docker run -v /:/host
#   /opt/lethe-HASH   the program there, a folder for each version; a pager runs from the one that it began with
#   /opt/lethe        a link to it, unless something else is there: /opt/lethe/bin/lethe status
# The words are lethe's own: `docker run … lethe status`.
#
# What is started leaves the container's control group, and outlives the container: whoever ends all in it would end the pagers,
# for which others wait. The daemon is told when this script ends, however it does, and then does what its policy says (`stop`).
set -eu
: "${LETHE_HOST:=/host}" "${LETHE_HOME:=/opt/lethe}"
if [ ! -d "$LETHE_HOST/proc/1" ] || [ "$(readlink /proc/1/ns/mnt)" = "$(readlink /proc/self/ns/mnt)" ]; then
  echo "lethe: the machine's root is not at $LETHE_HOST; start the container with --privileged --pid=host -v /:/host" >&2
  exit 3
fi
home=$LETHE_HOME-$(cat /lethe/version)
if [ ! -d "$LETHE_HOST$home" ]; then
  part=$LETHE_HOST${home%/*}/.${home##*/}.$$
  mkdir -p "$part"
  cp -a /lethe/. "$part/"
  # Somebody else may have been faster.
  mv -T "$part" "$LETHE_HOST$home" 2> /dev/null || rm -rf "$part"
fi
if [ -L "$LETHE_HOST$LETHE_HOME" ] || [ ! -e "$LETHE_HOST$LETHE_HOME" ]; then
  ln -sfn "${home##*/}" "$LETHE_HOST$LETHE_HOME"
fi
for other in "$LETHE_HOST$LETHE_HOME"-*; do
  path=${other#"$LETHE_HOST"}
  if [ "$path" != "$home" ] && ! printf '%s/' "$path" | grep -qsaF -f - /proc/[0-9]*/cmdline; then rm -rf "$other"; fi
done
(
  # Version 2 of control groups has one tree, version 1 one for each kind.
  for root in "$LETHE_HOST"/sys/fs/cgroup "$LETHE_HOST"/sys/fs/cgroup/*; do
    if [ -w "$root/cgroup.procs" ]; then echo 0 > "$root/cgroup.procs" || true; fi
    if [ -e "$LETHE_HOST/sys/fs/cgroup/cgroup.procs" ]; then break; fi
  done
  exec setpriv --pdeathsig TERM nsenter --target 1 --mount --ipc --uts --net --cgroup -- "$home/bin/lethe" "$@"
) <&0 &
child=$!
trap 'kill -TERM $child' TERM INT
trap 'kill -HUP $child' HUP
# A signal ends a wait, too.
while code=0; wait $child || code=$?; kill -0 $child 2> /dev/null; do :; done
exit $code
