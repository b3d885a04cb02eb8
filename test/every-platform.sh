#!/bin/sh
# Runs the tests of packing, and tests on every platform that can be had on an x64 machine, after `npm run prebuild`:
#   npm run test:platforms
# Takes those that shall run: npm run test:platforms -- arm64 bun
# Each has an hour. All run, whichever fails; the last lines tell how each went.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- packing arm64 musl-x64 musl-arm64 bun deno thread
node scripts/build.js --check || { echo 'First: npm run prebuild' >&2; exit 1; }
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

command_of() {
  case $1 in
  packing) echo 'npx mocha --no-config --forbid-pending out/test/package/packing.test.js' ;;
  arm64) echo 'sh test/platforms-arm64.sh' ;;
  musl-*) echo "sh test/platforms-musl.sh ${1#musl-}" ;;
  bun | deno | thread) echo "sh test/platforms.sh $1" ;;
  *) echo "There is no platform '$1': packing, arm64, musl-x64, musl-arm64, bun, deno, thread" >&2; exit 2 ;;
  esac
}
for platform; do command_of "$platform" >/dev/null; done

failed=0
for platform; do
  echo "== $platform"
  command=$(command_of "$platform")
  # shellcheck disable=SC2086
  { code=0; timeout -k 10 3600 $command 2>&1 || code=$?; echo "$code" >"$logs/status"; } | tee "$logs/output"
  status=$(cat "$logs/status")
  sums=$(grep -E "^$platform: |^ *[0-9]+ (passing|failing)" "$logs/output" | sed "s/^$platform: //" | tr -s ' \n' ' ')
  case $status in
  0) result=passed ;;
  124 | 137) result='FAILED, not ended within an hour' failed=1 ;;
  *) result="FAILED with status $status" failed=1 ;;
  esac
  echo "$platform: $result ($sums)" >>"$logs/summary"
done
echo '== summary'
cat "$logs/summary"
exit "$failed"
