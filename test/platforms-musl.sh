#!/bin/sh
# Runs tests with the prebuilt musl binary on an x64 machine with glibc, by npm's Bun for musl, after `npm run prebuild`;
# npm has no Node.js for musl. Takes test files: sh test/platforms-musl.sh out/test/device/batches.test.js
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- out/test/device/batches.test.js out/test/device/super-packets.test.js out/test/lab/lab.test.js \
  out/test/net/oracle.test.js out/test/socket/udp-traffic.test.js out/test/tunnel/aead-vectors.test.js
sh test/tools.sh musl
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
sh test/packed-tree.sh "$folder/tree"
# --force: npm refuses what is for another C library than its own.
npm install --silent --force --ignore-scripts --prefix "$folder/bun" @oven/bun-linux-x64-musl@1.4.5 >/dev/null
bun=$folder/bun/node_modules/@oven/bun-linux-x64-musl/bin/bun

# Bun needs a libstdc++ for musl, which Debian does not have: one is made of what Bun asks for in the static archive.
mkdir "$folder/lib"
wanted=$(nm -D --undefined-only "$bun" |
  awk '$2 ~ /^(_Z|__cxa|__gxx|_Unwind|__dynamic)/ { sub(/@.*/, "", $2); print "-Wl,-u," $2 }')
for class in 121__vmi_class_type_info 120__si_class_type_info 117__class_type_info; do
  wanted="$wanted -Wl,-u,_ZTVN10__cxxabiv${class}E"
done
# shellcheck disable=SC2086
musl-gcc -shared -fPIC -o "$folder/lib/libstdc++.so.6" test/platforms-musl.c $wanted \
  "$(g++ -print-file-name=libstdc++.a)" "$(gcc -print-file-name=libgcc_eh.a)" "$(gcc -print-file-name=libgcc.a)"

run() {
  env LD_LIBRARY_PATH="$folder/lib" "$bun" "$@"
}
cd "$folder/tree"
# Nothing else may be loaded.
rm prebuilds/linux-x64/tuntap-native.glibc.node
echo "Bun $(run --version) for musl"
for test; do
  run out/test/platforms.js "$test"
done
# Without AVX2, too.
export TUNTAP_CIPHERS=bundled-sse2
run out/test/platforms.js out/test/tunnel/aead-vectors.test.js
