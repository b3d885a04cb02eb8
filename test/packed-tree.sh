#!/bin/sh
# Packs the package and makes two folders of it: sh test/packed-tree.sh FOLDER
# - FOLDER/tree is this one with what is packed in place of what was built here, so that the tests run with the prebuilt
#   binaries. Binaries of other platforms may be missing.
# - FOLDER/user is empty but for the tarball, which npm installed there with scripts off, and out/test/installed.js.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1/tree" "$1/user"
# The file's name comes after what npm tells of the scripts.
tarball=$(npm pack --silent --ignore-scripts --pack-destination "$1" | tail -n 1)
tar -c --exclude=./build --exclude=./dist --exclude=./prebuilds --exclude=./prebuilds.work --exclude=./node_modules \
  --exclude=./.git . | tar -x -C "$1/tree"
# Without the times in the tarball, by which what is packed would be older than its sources.
tar -xzmf "$1/$tarball" -C "$1/tree" --strip-components=1 package/dist package/prebuilds
ln -s "$PWD/node_modules" "$1/tree/node_modules"
echo '{ "private": true, "type": "module" }' >"$1/user/package.json"
npm install --silent --ignore-scripts --prefer-offline --prefix "$1/user" "$1/$tarball" >/dev/null
cp out/test/installed.js "$1/user"
rm "$1/$tarball"
