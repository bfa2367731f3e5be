#!/bin/sh
# `make coverage`: line coverage of the tests in COVERAGE (cargo's words; by default the unit tests), by cargo-llvm-cov.
# Prints the total; target/llvm-cov/summary.txt has a line a file.
set -eu
cd "$(dirname "$0")/.."
cover=$(sh tools/tool.sh cargo-llvm-cov "${LLVM_COV_VERSION:-0.9.1}")
# It reads the profiles with the LLVM of the compiler, which is a component of the toolchain.
if ! ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata >/dev/null 2>&1; then
  rustup component add llvm-tools
fi
summary=target/llvm-cov/summary.txt
mkdir -p "$(dirname "$summary")"
# COVERAGE is a list of words.
# shellcheck disable=SC2086
"$cover" llvm-cov --locked --summary-only --output-path "$summary" ${COVERAGE:---workspace --lib --bins}
# The columns are regions, functions and lines: how many, how many not run, and the share that ran.
awk '$1 == "TOTAL" { print "coverage: " $10 " of " $8 " lines, " $7 " of " $5 " functions" }' "$summary"
