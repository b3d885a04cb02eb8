#!/bin/sh
# Runs a command as a user without capabilities, for whom /dev/net/tun is open as udev has it: sh test/as-user.sh
# COMMAND [ARGUMENT]... Root becomes the user nobody; the node is in a mount namespace that ends with the command.
set -eu
[ "$(id -u)" = 0 ] || exec "$@"
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
chown 65534 "$home"
unshare --mount sh -c '
  mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200
  exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"' sh \
  env HOME="$home" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$@"
