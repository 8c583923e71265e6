# shellcheck shell=bash
# Shared by the scripts: messages, packages from Debian or Ubuntu, the build.

# Remove settings of the user's environment that change bash, tar, gzip and Git: folders that cd
# searches and prints, POSIX mode, default options, and the repository of a hook that runs a script.
unset CDPATH POSIXLY_CORRECT TAR_OPTIONS GZIP GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
set +o posix

root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")

# Prints the comment at the head of the script, which is its help.
usage() {
    sed -n '2,${/^#/!q;s/^# \{0,1\}//;p;}' "$0"
}

say() {
    printf '%s: %s\n' "$(basename "$0")" "$*"
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

apt_options=()

# need WHY PACKAGE...: installs missing packages.
need() {
    local why=$1 package missing=() sudo=()
    shift
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "packages missing: ${missing[*]}: they are installed automatically on Debian or Ubuntu only"
    say "installing ${missing[*]} ($why)"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "packages missing: ${missing[*]}: install them as root, or install sudo"
        sudo=(sudo)
    fi
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get install -y -q "${apt_options[@]}" "${missing[@]}" >/dev/null 2>&1 && return 0
    # The package lists may be outdated or missing.
    "${sudo[@]}" apt-get update -q >/dev/null 2>&1 || true
    "${sudo[@]}" apt-get install -y -q "${apt_options[@]}" "${missing[@]}" >/dev/null ||
        die "packages missing: ${missing[*]}: apt-get could not install them"
}

# need_bare WHY PACKAGE...: like need, without recommended packages, which for PyTorch are three times
# its own size.
need_bare() {
    local apt_options=(--no-install-recommends)
    need "$@"
}

need_to_build() {
    need "to build nnmf-train" gcc g++ cmake ninja-build pkg-config libjansson-dev \
        libpng-dev zlib1g-dev libisal-dev libprotobuf-c-dev protobuf-c-compiler
}

# Prints the path of a clang-format 14, the version that .clang-format was written for.
clang_format() {
    local tool
    for tool in "${NNMF_CLANG_FORMAT:-}" clang-format-14 clang-format \
        "$root/build-test/clang-format/bin/clang-format"; do
        if [[ $("$tool" --version 2>/dev/null) == *'version 14.'* ]]; then
            command -v "$tool"
            return
        fi
    done
    return 1
}

# python_with MODULE...: prints the path of a Python 3 that has these modules.
python_with() {
    local python modules
    modules=$(IFS=,; echo "$*")
    for python in "${NNMF_PYTHON:-python3}" python3 /usr/bin/python3; do
        if "$python" -c "import $modules" 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# build [--target TARGET] TREE [CMAKE OPTIONS]: configures and builds. Prints the log on failure.
build() {
    local target=all tree log
    if [ "$1" = --target ]; then
        target=$2
        shift 2
    fi
    tree=$1
    shift
    log=$(mktemp)
    if ! { cmake -S "$root" -B "$tree" -G Ninja "$@" &&
        cmake --build "$tree" --target "$target"; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "the build failed: $tree: the compiler's messages are above"
    fi
    rm -f "$log"
}
