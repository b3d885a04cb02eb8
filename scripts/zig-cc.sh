#!/bin/sh
# zig as the compiler of node-gyp: links to this file named zigcc, zigc++ and zigar stand for what their names say. It
# takes out the options that zig refuses. $ZIG is the program, $ZIG_TARGET what it compiles for.
case ${0##*/zig} in
ar) exec "$ZIG" ar "$@" ;;
c++) command=c++ ;;
*) command=cc ;;
esac
left=$#
while [ "$left" -gt 0 ]; do
  argument=$1
  shift
  left=$((left - 1))
  case $argument in
  -m64 | -rdynamic | -Wl,-soname=*) ;;
  *) set -- "$@" "$argument" ;;
  esac
done
# zig looks for undefined behaviour unless it is told not to.
exec "$ZIG" "$command" -target "$ZIG_TARGET" -fno-sanitize=undefined -s "$@"
