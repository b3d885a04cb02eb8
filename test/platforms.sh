#!/bin/sh
# Runs tests in Bun and Deno, of pinned versions from npm, with the prebuilt binary, which alone has ciphers for them:
# npm run prebuild && npm run test:platforms
# Takes runtimes and test files, too: npm run test:platforms -- 'bun deno' out/test/device/*.test.js
# test/platforms.json lists what a runtime lacks. Each file has a process of its own, which may crash.
set -eu
cd "$(dirname "$0")/.."
bun=@oven/bun-linux-$(node -p process.arch)@1.4.5
deno=@deno/linux-$(node -p process.arch)-glibc@2.9.6
runtimes=${1:-bun deno}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- out/test/cli/*.test.js out/test/device/*.test.js out/test/io/*.test.js out/test/lab/*.test.js out/test/net/*.test.js \
  out/test/packet/*.test.js out/test/socket/*.test.js out/test/tunnel/*.test.js out/test/wireguard/*.test.js
[ -e "prebuilds/linux-$(node -p process.arch)/tuntap-native.glibc.node" ] || { echo 'First: npm run prebuild' >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder" # some tests run the runtime as another user
# A copy without build/, which the package would prefer.
mkdir "$folder/package"
tar -c --exclude=./build --exclude=./node_modules --exclude=./prebuilds.work --exclude='./.*' . | tar -x -C "$folder/package"
ln -s "$PWD/node_modules" "$folder/package/node_modules"
cd "$folder/package"
export DENO_DIR="$folder/cache" DENO_NO_UPDATE_CHECK=1
failed=
for runtime in $runtimes; do
  case $runtime in
  bun) package=$bun program=bin/bun command='' ;;
  deno) package=$deno program=deno command='run -A' ;;
  *) echo "There is no runtime '$runtime': bun, deno" >&2; exit 2 ;;
  esac
  # --force: npm refuses what is for another C library than its own.
  npm install --silent --ignore-scripts --force --prefix "$folder/$runtime" "$package" >/dev/null
  file=$folder/$runtime/node_modules/${package%@*}/$program
  chmod 755 "$file"
  echo "$("$file" --version | head -n 1)"
  for test; do
    # shellcheck disable=SC2086
    output=$(timeout 300 "$file" $command out/test/platforms.js "$test" 2>&1) || {
      failed="$failed $runtime:$test"
      echo "$output"
    }
    echo "$runtime $test: $(echo "$output" | grep -E '(passing|failing|left out)' | tr -s ' \n' ' ')"
  done
done
[ -z "$failed" ] || { echo "Failed:$failed"; exit 1; }
