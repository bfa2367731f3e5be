#!/bin/sh
# Checks the dependencies with cargo-deny (deny.toml). Where the pinned version is not at hand it is built once, which
# takes some minutes, and kept in the user's cache folder.
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
    echo "cargo-deny $version is not at hand: building it once into $kept (some minutes)"
    "$cargo" install cargo-deny --quiet --locked --version "$version" --root "$kept" --target-dir "$kept/build"
    rm -rf "$kept/build"
  fi
fi

echo "cargo-deny: bans, licences, sources"
"$deny" --log-level error check bans licenses sources

# The database is a Git repository of its own: not in reach is no verdict, and is not passed over in silence.
limit=""
if command -v timeout >/dev/null; then limit="timeout 120"; fi
if $limit "$deny" --log-level off fetch db >/dev/null 2>&1; then
  echo "cargo-deny: advisories"
  "$deny" --log-level error check --disable-fetch advisories
else
  echo "cargo-deny: advisories NOT checked: the RustSec database is not in reach from here" >&2
fi
