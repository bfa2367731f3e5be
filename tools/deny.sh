#!/bin/sh
# Checks the dependencies with cargo-deny (deny.toml). If the pinned version is missing, builds it once (some minutes) into the
# user's cache folder.
set -eu
cd "$(dirname "$0")/.."
version=0.20.2
kept="${XDG_CACHE_HOME:-$HOME/.cache}/tenantry/cargo-deny-$version"
cargo=${CARGO:-cargo}

if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
  deny=cargo-deny
else
  deny="$kept/bin/cargo-deny"
  if [ ! -x "$deny" ]; then
    echo "cargo-deny $version is missing: building it once into $kept (some minutes)"
    "$cargo" install cargo-deny --quiet --locked --version "$version" --root "$kept" --target-dir "$kept/build"
    rm -rf "$kept/build"
  fi
fi

echo "cargo-deny: bans, licences, sources"
"$deny" --log-level error check bans licenses sources

# The database is a separate Git repository. If it is unreachable, print that nothing was checked.
limit=""
if command -v timeout >/dev/null; then limit="timeout 120"; fi
if $limit "$deny" --log-level off fetch db >/dev/null 2>&1; then
  echo "cargo-deny: advisories"
  "$deny" --log-level error check --disable-fetch advisories
else
  echo "cargo-deny: advisories NOT checked: the RustSec database is unreachable" >&2
fi
