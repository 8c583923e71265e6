#!/usr/bin/env bash
# Runs a command of the build with -DNNMF_SANITIZE=threads-cpu, in the environment that
# ThreadSanitizer and Archer need. If they cannot run, prints one line with the reason and exits
# with 77, which CTest reports as skipped.
#
#     with_archer.sh ARCHER COMMAND [ARGUMENTS...]
#
# ARCHER: the path of libarcher.so, or any other text if there is none.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
archer=$1
shift

skip() {
    printf 'skipped: %s\n' "$1"
    exit 77
}

[[ -f $archer ]] ||
    skip "no libarcher.so: it should be beside LLVM's libomp, in Debian's package libomp-dev"

# With ignore_noninstrumented_modules=1, on Linux, races of the program's own memcpy and memset are
# not reported either (Clang 14 and 19), so suppressions.txt ignores only the calls of OpenMP's
# runtime. Archer looks for the 1 in this variable and warns without it; options.txt, which
# ThreadSanitizer reads last, sets it to 0.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 include='$here/options.txt' \
suppressions='$here/suppressions.txt'"
export OMP_TOOL_LIBRARIES=$archer OMP_WAIT_POLICY=passive

# With vm.mmap_rnd_bits=32 (Debian 13, Ubuntu 24.04) ThreadSanitizer of Clang up to 17 starts only
# sometimes, and that of later versions restarts itself without address randomisation. setarch
# disables it for all versions; a container may forbid that.
fixed=() random="setarch -R is not permitted, vm.mmap_rnd_bits=28 might help"
if setarch -R true 2>/dev/null; then
    fixed=(setarch -R) random="not even with setarch -R"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"${fixed[@]}" "$@" 2>&1 | tee "$log" || status=$?
no_place='FATAL: ThreadSanitizer( can not (mmap|protect)|:.* memory (mapping|layout))'
no_place+='|ThreadSanitizer: CHECK failed.*personality'
if [[ $status -ne 0 ]] && grep -qE "$no_place" "$log" && ! grep -q 'SUMMARY: ThreadSanitizer' "$log"
then
    skip "ThreadSanitizer finds no place for its memory: $random"
fi
exit "$status"
