#!/bin/sh
# `make check`: format, clippy and unit tests of the packages that this branch changed and of those that depend on them.
# Changed means: differs from the merge base with BASE (origin/main, else main), committed or not. ALL=1 checks every package.
# `make test` checks everything; this is for the minutes between.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
cargo=${CARGO:-cargo}
started=$(date +%s)

phase() {
  sh tools/phase.sh "$@"
}

# One "NAME FOLDER" a line for each package of the workspace that cargo tree prints with these arguments.
packages() {
  "$cargo" tree --locked --workspace --prefix none "$@" | sed -n "s|^\([^ ]*\) v[^ ]* (\($root[^)]*\)).*|\1 \2|p" | sort -u
}

merge_base() {
  for base in ${BASE:-origin/main main}; do
    if git merge-base HEAD "$base" 2>/dev/null; then
      return
    fi
  done
}

# The package that a file belongs to is the one with the longest folder above it.
package_of() {
  printf '%s\n' "$members" | awk -v file="$root/$1" '
    index(file, $2 "/") == 1 && length($2) > length(folder) { folder = $2; name = $1 }
    END { if (name != "") print name }'
}

members=$(packages --depth 0)
# A failure inside the pipe above would else pass as "nothing changed".
if [ -z "$members" ]; then
  echo "check: cargo tree found no package; is Cargo.lock current?" >&2
  exit 1
fi
base=$(merge_base)
pages=""
all=""
names=""
if [ "${ALL:-}" = 1 ] || [ -z "$base" ]; then
  all=yes
else
  changed=$(git diff --name-only "$base" && git ls-files --others --exclude-standard)
  for file in $changed; do
    case $file in
      *.md) pages=yes ;;
      Cargo.lock | Cargo.toml | clippy.toml | .cargo/*) all=yes ;;
      *) names="$names $(package_of "$file")" ;;
    esac
  done
fi
if [ -n "$all" ]; then
  names=$(printf '%s\n' "$members" | cut -d ' ' -f 1)
else
  # The names of the packages are words, here and below.
  # shellcheck disable=SC2086
  for name in $(printf '%s\n' $names | sort -u); do
    names="$names $(packages --edges all --invert "$name" | cut -d ' ' -f 1)"
  done
  # shellcheck disable=SC2086
  names=$(printf '%s\n' $names | sort -u)
fi

arguments=""
library=""
for name in $names; do
  arguments="$arguments --package $name"
  folder=$(printf '%s\n' "$members" | sed -n "s|^$name ||p")
  if [ -f "$folder/src/lib.rs" ]; then library=--lib; fi
done
# shellcheck disable=SC2086,SC2116
echo "check: $(echo ${names:-no package})${pages:+, pages}"

phase format "$cargo" fmt --all --check
if [ -n "$names" ]; then
  # $arguments and $library are lists of words.
  # shellcheck disable=SC2086
  phase clippy "$cargo" clippy --locked --quiet $arguments --all-targets -- --deny warnings
  # shellcheck disable=SC2086
  phase "unit tests" "$cargo" test --locked --quiet $arguments $library --bins
fi
if [ -n "$pages" ]; then
  phase pages "$cargo" test --locked --quiet --test docs
fi
echo "check: ok, $(($(date +%s) - started)) s"
