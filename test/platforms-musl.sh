#!/bin/sh
# Runs tests with a prebuilt musl binary on an x64 machine with glibc, by npm's Bun for musl, after `npm run prebuild`;
# npm has no Node.js for musl. Takes the architecture, of which arm64 runs under qemu-user, and test files:
#   sh test/platforms-musl.sh x64 out/test/device/batches.test.js
set -eu
cd "$(dirname "$0")/.."
arch=${1:-x64}
[ $# -eq 0 ] || shift
sh test/tools.sh "musl-$arch"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"

case $arch in
x64)
  machine=x64 compiler='' level=bundled-sse2
  [ $# -gt 0 ] || set -- out/test/device/batches.test.js out/test/device/super-packets.test.js out/test/lab/lab.test.js \
    out/test/net/oracle.test.js out/test/socket/udp-traffic.test.js out/test/tunnel/aead-vectors.test.js
  loader="env LD_LIBRARY_PATH=$folder/lib"
  ;;
arm64)
  machine=aarch64 compiler=aarch64-linux-gnu- level=bundled-neon
  [ $# -gt 0 ] || set -- out/test/device/batches.test.js out/test/device/super-packets.test.js out/test/lab/lab.test.js \
    out/test/net/codec.test.js out/test/net/oracle.test.js out/test/tunnel/aead-vectors.test.js
  # musl itself, from Debian's packages for arm64, which this machine's apt need not know.
  mkdir -p "$folder/lists/partial" "$folder/musl"
  apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$folder/lists" \
      -o Dir::Cache="$folder/apt" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root "$@"
  }
  mkdir -p "$folder/apt/archives/partial"
  apt update
  (cd "$folder/musl" && apt download musl && dpkg-deb -x musl_*.deb .)
  loader="qemu-aarch64-static -E LD_LIBRARY_PATH=$folder/lib $folder/musl/lib/aarch64-linux-musl/libc.so"
  ;;
*) echo "There is no architecture '$arch': x64, arm64" >&2; exit 2 ;;
esac

sh test/packed-tree.sh "$folder"
# --force: npm refuses what is for another machine or C library than its own.
npm install --silent --force --ignore-scripts --prefix "$folder/bun" "@oven/bun-linux-$machine-musl@1.4.5" >/dev/null
bun=$folder/bun/node_modules/@oven/bun-linux-$machine-musl/bin/bun

# Bun needs a libstdc++ for musl, which Debian does not have: one is made of what Bun asks for in the static archive.
mkdir "$folder/lib"
wanted=$(nm -D --undefined-only "$bun" |
  awk '$2 ~ /^(_Z|__cxa|__gxx|_Unwind|__dynamic)/ { sub(/@.*/, "", $2); print "-Wl,-u," $2 }')
for class in 121__vmi_class_type_info 120__si_class_type_info 117__class_type_info; do
  wanted="$wanted -Wl,-u,_ZTVN10__cxxabiv${class}E"
done
archive() {
  "${compiler}g++" "-print-file-name=$1"
}
# shellcheck disable=SC2086
"${compiler}gcc" -shared -fPIC -nodefaultlibs -o "$folder/lib/libstdc++.so.6" test/platforms-musl.c $wanted \
  "$(archive libstdc++.a)" "$(archive libgcc_eh.a)" "$(archive libgcc.a)"

cd "$folder/tree"
# Nothing else may be loaded.
rm prebuilds/linux-*/tuntap-native.glibc.node
# What the tests start in namespaces are the machine's own programs.
[ "$arch" = x64 ] || cp prebuilds/linux-x64/namespace_exec "prebuilds/linux-$arch/namespace_exec"
# shellcheck disable=SC2086
echo "Bun $($loader "$bun" --version) for musl, $($loader "$bun" -p process.arch)"
suite() {
  # shellcheck disable=SC2086
  node out/test/each-file.js "musl-$arch" $loader "$bun" -- "$@"
}
failed=
suite "$@" || failed=1
# Without AVX2, or without the instructions for AES, too.
export TUNTAP_CIPHERS=$level
suite out/test/tunnel/aead-vectors.test.js || failed=1
[ -z "$failed" ]
