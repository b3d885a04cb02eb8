#!/bin/sh
# Runs the tests, or those given, with the addon built under AddressSanitizer and UndefinedBehaviorSanitizer:
#   sh test/asan.sh [out/test/….test.js ...]
# It works on a copy, so that build/ stays what it was. Node itself is not instrumented: what it and V8 keep until
# the process ends is no leak of ours, so leaks are not looked for. Reports go to $ASAN_DIR (a temporary folder) as
# report.PID, also those of worker and child processes; any report makes the exit status 1.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=${ASAN_DIR:-$(mktemp -d)}
mkdir -p "$work/package"
chmod 1777 "$work" # tests' unprivileged processes report, too
rm -f "$work"/report.*
(cd "$root" && cp -a $(ls -A | grep -vxE "[.]git|build|prebuilds") "$work/package/")
cd "$work/package"
flags='-fsanitize=address,undefined -fno-sanitize=vptr -fno-omit-frame-pointer -g -O1'
CFLAGS="$flags" CXXFLAGS="$flags" LDFLAGS="$flags" npx node-gyp rebuild >"$work/build.log" 2>&1 ||
  { tail -n 40 "$work/build.log" >&2; exit 1; }
LD_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so)
# Every program that the tests start is checked too: `ip route` copies a string onto itself (iproute2's print_route).
echo 'interceptor_via_fun:print_route' >"$work/suppressions"
ASAN_OPTIONS="detect_leaks=0,quarantine_size_mb=8,log_path=$work/report,suppressions=$work/suppressions"
UBSAN_OPTIONS="print_stacktrace=1,log_path=$work/report"
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS
status=0
if [ $# -gt 0 ]; then
  node node_modules/mocha/bin/mocha.js --no-config --timeout 120000 -n expose-gc "$@" || status=$?
else
  node node_modules/mocha/bin/mocha.js --timeout 120000 || status=$?
fi
for report in "$work"/report.*; do
  [ -e "$report" ] || break
  echo "== $report" >&2
  head -n 60 "$report" >&2
  status=1
done
echo "tests ended with status $status; build and reports in $work"
exit "$status"
