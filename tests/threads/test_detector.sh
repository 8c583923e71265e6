#!/usr/bin/env bash
# Whether races are found at all, and only races: the programs of planted.c.
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

# Without Archer, or with one that is not heard, these are reported.
"$planted" >"$out" 2>&1 || die "the right programs: a report, or no start"
count=$(cat "$out")
[[ $count =~ ^[1-9][0-9]*$ ]] || die "the right programs: nothing but their number was expected"

for ((number = 0; number < count; number++)); do
    status=0
    "$planted" race "$number" >"$out" 2>&1 || status=$?
    if [[ $status -ne 66 ]] || ! grep -q 'WARNING: ThreadSanitizer: data race' "$out"; then
        die "program $number with a race: status $status, a report and 66 were expected"
    fi
done
printf '%d right programs, %d with a race\n' "$count" "$count"
