#!/bin/sh
# Entry of the container image. A process can only be served from its own mount and pid namespaces, so Lethe must run in the
# machine's: this puts the program, with its node, on the machine's disk and starts it there.
#   /host   the machine's root, mounted by docker run -v /:/host
# The words are lethe's own: `docker run … lethe status`.
set -eu
: "${LETHE_HOST:=/host}" "${LETHE_HOME:=/opt/lethe}"
if [ ! -d "$LETHE_HOST/proc/1" ]; then
  echo "lethe: the machine's root is not at $LETHE_HOST; start the container with --privileged --pid=host -v /:/host" >&2
  exit 3
fi
part=$LETHE_HOST$LETHE_HOME.$$
rm -rf "$part"
mkdir -p "$part"
cp -a /lethe/. "$part/"
mkdir -p "$part/node_modules/.bin"
rm -f "$part/node_modules/.bin/node"
cp /usr/local/bin/node "$part/node_modules/.bin/node"
# Pagers that run keep the files that they have open.
if [ -e "$LETHE_HOST$LETHE_HOME" ]; then
  rm -rf "$LETHE_HOST$LETHE_HOME.old"
  mv "$LETHE_HOST$LETHE_HOME" "$LETHE_HOST$LETHE_HOME.old"
fi
mv "$part" "$LETHE_HOST$LETHE_HOME"
exec nsenter --target 1 --mount --pid --ipc --uts --net -- "$LETHE_HOME/bin/lethe" "$@"
