#!/bin/sh
# Runs a command as a named phase and prints how long it took: sh tools/phase.sh NAME COMMAND [ARGUMENT...]
# Its exit status is the command's.
set -u
name=$1
shift
echo "==> $name"
started=$(date +%s)
"$@"
status=$?
took=$(($(date +%s) - started))
if [ $status -eq 0 ]; then
  echo "<== $name: ok, $took s"
else
  echo "<== $name: failed with exit status $status, $took s" >&2
fi
exit $status
