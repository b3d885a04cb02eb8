#!/bin/sh
# Makes a folder of the package as it is packed, with the compiled tests beside it, so that they run with the prebuilt
# binaries and not with what was built here: sh test/packed-tree.sh FOLDER. Binaries of other platforms may be missing.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
# The file's name comes after what npm tells of the scripts.
tarball=$(npm pack --silent --ignore-scripts --pack-destination "$1" | tail -n 1)
tar -xzf "$1/$tarball" -C "$1" --strip-components=1
rm "$1/$tarball"
cp -R .mocharc.json out test "$1"
ln -s "$PWD/node_modules" "$1/node_modules"
