#!/bin/sh
# Adapter whose reports are sent by the test: `adapter.sh FOLDER` prints FOLDER/<model>/<benchmark>.log, or FOLDER/default.log.
# It fails if there is a file <benchmark>.exit with its status, else it stays until it is stopped.
member() { sed -n "s/.*\"$1\": *\"\([A-Za-z0-9_-]*\)\".*/\1/p" "$EVALHUB_JOB_SPEC_PATH" | head -n 1; }
run="$1/$(member name)/$(member benchmark_id)"
if [ -f "$run.log" ]; then cat "$run.log"; else cat "$1/default.log"; fi
if [ -f "$run.exit" ]; then exit "$(cat "$run.exit")"; fi
exec sleep 86400
