#!/bin/sh
# Prints the path of a pinned cargo tool: sh tools/tool.sh cargo-deny 0.20.2 [NAME OF ITS PROGRAM]
# If the pinned version is not in PATH, builds it once (some minutes) into the user's cache folder.
set -eu
crate=$1
version=$2
program=${3:-$crate}
kept="${XDG_CACHE_HOME:-$HOME/.cache}/tenantry/$crate-$version"
cargo=${CARGO:-cargo}

# Cargo's own tools say `cargo-llvm-cov llvm-cov --version`; the others take --version alone.
subcommand=""
case $program in cargo-*) subcommand=${program#cargo-} ;; esac
for arguments in "--version" "$subcommand --version"; do
  # $arguments is a list of words.
  # shellcheck disable=SC2086
  if "$program" $arguments 2>/dev/null | grep -qx "$crate $version"; then
    command -v "$program"
    exit
  fi
done
if [ ! -x "$kept/bin/$program" ]; then
  echo "$crate $version is not at hand: building it once into $kept (some minutes)" >&2
  "$cargo" install "$crate" --quiet --locked --version "$version" --root "$kept" --target-dir "$kept/build" >&2
  rm -rf "$kept/build"
fi
echo "$kept/bin/$program"
