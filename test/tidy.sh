#!/bin/sh
# Checks src-cpp by clang-tidy, on all processors: sh test/tidy.sh [file ...]. The checks are those of .clang-tidy.
# The analyzer takes long over node-addon-api's templates, so the calls that are only glue go without it.
set -eu
cd "$(dirname "$0")/.."
headers=$(node -p "path.join(process.execPath, '..', '..', 'include', 'node')")
[ -e "$headers/node_api.h" ] || headers=$(node -p "process.env.HOME")/.cache/node-gyp/$(node -p process.versions.node)/include/node
export flags="-std=c++17 -Isrc-cpp -isystem $(node -p "require('node-addon-api').include_dir") -isystem $headers
  -DNAPI_VERSION=8 -DNAPI_DISABLE_CPP_EXCEPTIONS"
[ $# -gt 0 ] || set -- src-cpp/node/descriptor.cc src-cpp/*/*.cc
printf '%s\n' "$@" | awk '!seen[$0]++' | xargs -P "$(nproc)" -n 1 sh -c '
  case $0 in *_calls.cc | */addon.cc) checks=-clang-analyzer-* ;; *) checks= ;; esac
  clang-tidy --quiet --checks="$checks" "$0" -- $flags 2>/dev/null'
