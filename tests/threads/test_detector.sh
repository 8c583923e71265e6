#!/usr/bin/env bash
# Checks that ThreadSanitizer reports the races in planted.c, and nothing else.
#
#     test_detector.sh PLANTED        under with_archer.sh
set -euo pipefail
planted=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT

die() {
    printf 'FAILED: %s\n' "$1"
    cat "$out"
    exit 1
}

# Without Archer, or if its reports are ignored, ThreadSanitizer reports these.
"$planted" >"$out" 2>&1 || die "correct programs: a race was reported, or they did not start"
count=$(cat "$out")
[[ $count =~ ^[1-9][0-9]*$ ]] || die "correct programs: only their number was expected"

for ((number = 0; number < count; number++)); do
    status=0
    "$planted" race "$number" >"$out" 2>&1 || status=$?
    if [[ $status -ne 66 ]] || ! grep -q 'WARNING: ThreadSanitizer: data race' "$out"; then
        die "program $number with a race: status $status, a report and 66 were expected"
    fi
done
printf '%d correct programs, %d with a race\n' "$count" "$count"
