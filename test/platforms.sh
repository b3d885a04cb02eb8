#!/bin/sh
# Runs tests in Bun and Deno, of pinned versions from npm, with the prebuilt binary, which alone has ciphers for them, as
# it is packed: npm run prebuild && sh test/platforms.sh
# The runtime `thread` is Node.js with the engine of the two.
# Takes runtimes and test files, too: sh test/platforms.sh 'bun deno' out/test/device/*.test.js
# test/platforms.json lists what a runtime lacks. Each file has a process of its own, which may crash. Before them it runs
# test/installed.ts in an empty folder that npm installed the tarball in.
set -eu
cd "$(dirname "$0")/.."
bun=@oven/bun-linux-$(node -p process.arch)@1.4.5
deno=@deno/linux-$(node -p process.arch)-glibc@2.9.6
runtimes=${1:-bun deno}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
  # All but the tests of packing, which test npm and the scripts, and run in Node.js.
  # shellcheck disable=SC2046
  set -- $(ls out/test/*.test.js out/test/*/*.test.js | grep -v '/package/packing\.')
fi
[ -e "prebuilds/linux-$(node -p process.arch)/tuntap-native.glibc.node" ] || { echo 'First: npm run prebuild' >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder" # some tests run the runtime as another user
sh test/packed-tree.sh "$folder"
cd "$folder/tree"
export DENO_DIR="$folder/cache" DENO_NO_UPDATE_CHECK=1
failed=
for runtime in $runtimes; do
  case $runtime in
  bun) package=$bun program=bin/bun command='' ;;
  deno) package=$deno program=deno command='run -A' ;;
  thread) package='' file=env command='TUNTAP_ENGINE=thread node' ;;
  *) echo "There is no runtime '$runtime': bun, deno, thread" >&2; exit 2 ;;
  esac
  if [ -n "$package" ]; then
    # --force: npm refuses what is for another C library than its own.
    npm install --silent --ignore-scripts --force --prefix "$folder/$runtime" "$package" >/dev/null
    file=$folder/$runtime/node_modules/${package%@*}/$program
    chmod 755 "$file"
    "$file" --version | head -n 1
  fi
  # shellcheck disable=SC2086
  timeout 120 "$file" $command "$folder/user/installed.js" || failed="$failed $runtime:installed"
  # shellcheck disable=SC2086
  node out/test/each-file.js "$runtime" "$file" $command -- "$@" || failed="$failed $runtime"
done
[ -z "$failed" ] || { echo "Failed:$failed"; exit 1; }
