#!/usr/bin/env bash
# Runs a command of the build with -DNNMF_SANITIZE=threads-cpu, with what ThreadSanitizer and Archer
# need. Where they cannot run, says why in one line and ends with 77, which CTest reports as skipped.
#
#     with_archer.sh ARCHER COMMAND [ARGUMENTS...]
#
# ARCHER: the path of libarcher.so; another, where there is none.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
archer=$1
shift

skip() {
    printf 'skipped: %s\n' "$1"
    exit 77
}

[[ -f $archer ]] ||
    skip "no libarcher.so: it should lie beside LLVM's libomp, of Debian's package libomp-dev"

# With ignore_noninstrumented_modules=1, on Linux, no race of the program's own memcpy and memset is
# reported either (Clang 14 and 19): suppressions.txt has the calls of OpenMP's runtime ignored alone.
# Archer looks for the 1 in this variable and warns without it; options.txt, which ThreadSanitizer
# reads last, has the 0.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 include='$here/options.txt' \
suppressions='$here/suppressions.txt'"
export OMP_TOOL_LIBRARIES=$archer OMP_WAIT_POLICY=passive

# Where the kernel spreads memory widely (vm.mmap_rnd_bits=32: Debian 13, Ubuntu 24.04), the
# ThreadSanitizer of Clang up to 17 starts only now and then, and that of later ones starts itself
# again without random addresses. setarch does that for all; a container may forbid it.
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
