#!/bin/sh
# Checks the dependencies with cargo-deny (deny.toml).
set -eu
cd "$(dirname "$0")/.."
deny=$(sh tools/tool.sh cargo-deny 0.20.2)

echo "cargo-deny: bans, licences, sources"
"$deny" --log-level error check bans licenses sources

# The database is a Git repository of its own. If it cannot be fetched, say that nothing was checked.
limit=""
if command -v timeout >/dev/null; then limit="timeout 120"; fi
if $limit "$deny" --log-level off fetch db >/dev/null 2>&1; then
  echo "cargo-deny: advisories"
  "$deny" --log-level error check --disable-fetch advisories
else
  echo "cargo-deny: advisories NOT checked: the RustSec database is unreachable" >&2
fi
