#!/bin/sh
# Runs the tests under each Node.js that is supported, from npm's node-linux-* packages, all with the one prebuilt
# binary: `npm run prebuild && npm run test:versions`. Takes versions and test files, too:
#   npm run test:versions -- '22 24' out/test/device/*.test.js
# Before them it runs test/installed.ts in an empty folder that npm installed the tarball in.
set -eu
cd "$(dirname "$0")/.."
versions=${1:-20 22 24 26}
[ $# -eq 0 ] || shift
# Without files, those that .mocharc.json names, in parallel, without the tests of packing, which test npm and the scripts.
if [ $# -eq 0 ]; then
  set -- --ignore out/test/package/packing.test.js
else
  set -- --no-config --timeout 30000 --node-option expose-gc "$@"
fi
[ -z "${CI:-}" ] || [ "$(id -u)" != 0 ] || set -- --forbid-pending "$@"
package=node-linux-$(node -p process.arch)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder" # some tests run node as another user
sh test/packed-tree.sh "$folder"
cd "$folder/tree"
failed=
for version in $versions; do
  npm install --silent --prefix "$folder/$version" "$package@$version" >/dev/null
  bin=$folder/$version/node_modules/$package/bin
  echo "Node.js $("$bin/node" --version)"
  passed=1
  timeout 120 "$bin/node" "$folder/user/installed.js" || passed=
  PATH="$bin:$PATH" timeout -k 10 3600 "$bin/node" node_modules/mocha/bin/mocha.js --reporter dot "$@" || passed=
  [ -n "$passed" ] || failed="$failed $version"
done
[ -z "$failed" ] || { echo "Failed under Node.js$failed"; exit 1; }
