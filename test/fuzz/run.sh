#!/bin/sh
# Fuzzes each target for a number of seconds (30), from the kept corpus: sh test/fuzz/run.sh [seconds] [target ...]
# Needs clang with libFuzzer (CXX, else clang++ or clang++-16: apt-get install clang-16). What it finds goes to
# $FUZZ_DIR, a temporary folder by default: crash-* reproduces by giving the file to the target as argument.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-30}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- checksum segmentation coalescing nat datagrams
compiler=${CXX:-$(command -v clang++ || command -v clang++-16 || true)}
if [ -z "$compiler" ]; then
  echo 'No clang++: install clang-16, or set CXX.' >&2
  exit 1
fi
work=${FUZZ_DIR:-$(mktemp -d)}
mkdir -p "$work"
units='offload/checksum offload/segmentation offload/coalescing offload/coalescing_rules batch/batch_view'
for unit in datagrams flow_table ip_packet keyed_hash nat nat_decisions nat_errors reassembly replies rewrite slot_table; do units="$units intercept/$unit"; done
for target; do
  "$compiler" -std=c++17 -g -O1 -Wall -Wextra -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I"$root/src-cpp" -o "$work/$target" "$root/test/fuzz/$target.cc" \
    $(printf "$root/src-cpp/%s.cc " $units)
  mkdir -p "$work/corpus-$target"
  echo "== $target, $seconds s"
  "$work/$target" -max_total_time="$seconds" -max_len=70000 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$work/$target-" "$work/corpus-$target" "$root/test/fuzz/corpus/$target" 2>"$work/$target.log" ||
    { tail -n 60 "$work/$target.log" >&2; echo "$target: found something, see $work" >&2; exit 1; }
  grep -E '^stat::number_of_executed_units|^stat::average_exec' "$work/$target.log"
  grep -E '^#[0-9]+[[:space:]]+DONE' "$work/$target.log" || true
done
echo "nothing found; logs in $work"
