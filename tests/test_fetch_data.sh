#!/usr/bin/env bash
# scripts/fetch-data against a server on this machine, with generated files and their checksums.
# Exits with 0 if all cases pass, with 1 if one fails, and with 77 if a program is missing.
set -euo pipefail

unset CDPATH TAR_OPTIONS GZIP
script=$(dirname -- "$(readlink -f -- "$0")")/../scripts/fetch-data
for tool in curl python3 sha256sum tar gzip flock; do
    command -v "$tool" >/dev/null || {
        echo "skipped: no $tool"
        exit 77
    }
done

work=$(mktemp -d)
server=
finish() {
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

die() {
    printf 'FAILED: %s: %s\n' "$case" "$1"
    [[ ! -s $work/err ]] || sed 's/^/  stderr: /' "$work/err"
    [[ ! -s $work/log ]] || sed 's/^/  server: /' "$work/log"
    exit 1
}

begin() {
    case=$1
    dir=$work/$2
    : >"$work/log"
}

# Serves files with ranges, and with faults under other paths: /noranges/ ignores ranges, /cut/ stops in
# the middle of every file, /corrupt/ changes its last byte. Logs status, path and first byte.
cat >"$work/server.py" <<'PYTHON'
import http.server, os, re, sys

folder, log, port_file = sys.argv[1:]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mode, path = "", self.path.lstrip("/")
        found = re.match("(noranges|cut|corrupt)/(.*)", path)
        if found:
            mode, path = found.groups()
        try:
            with open(os.path.join(folder, path), "rb") as file:
                data = file.read()
        except OSError:
            return self.answer(404, 0, b"none", b"none")
        if mode == "corrupt":
            data = data[:-1] + bytes([data[-1] ^ 1])
        first, status = 0, 200
        asked = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        if asked and mode != "noranges":
            first, status = int(asked.group(1)), 206
            if first >= len(data):
                return self.answer(416, first, b"", b"")
        end = len(data) // 2 if mode == "cut" else len(data)
        self.answer(status, first, data[first:], data[first:end], len(data))

    def answer(self, status, first, whole, sent, total=0):
        with open(log, "a") as file:
            print(status, self.path, first, file=file)
        self.send_response(status)
        self.send_header("Content-Length", str(len(whole)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
PYTHON

# The served files: an MNIST of noise and a CIFAR-10 archive of small batches.
files=(train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz
    t10k-labels-idx1-ubyte.gz)
batches=(data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin
    test_batch.bin)
archive=cifar-10-binary.tar.gz
mkdir -p "$work/served" "$work/sums" "$work/cifar-10-batches-bin"
for name in "${files[@]}"; do
    head -c 50000 /dev/urandom | gzip >"$work/served/$name"
done
(cd "$work/served" && sha256sum "${files[@]}") >"$work/sums/mnist.sha256"
for name in "${batches[@]}"; do
    head -c 6146 /dev/urandom >"$work/cifar-10-batches-bin/$name"
done
echo frog >"$work/cifar-10-batches-bin/batches.meta.txt"
tar -czf "$work/served/$archive" -C "$work" cifar-10-batches-bin
{
    echo '# a comment'
    (cd "$work/served" && sha256sum "$archive")
    (cd "$work/cifar-10-batches-bin" && sha256sum "${batches[@]}")
} >"$work/sums/cifar10.sha256"

python3 "$work/server.py" "$work/served" "$work/log" "$work/port" &
server=$!
for ((i = 0; i < 100; i++)); do
    [[ ! -e $work/port ]] || break
    sleep 0.1
done
case=server
[[ -e $work/port ]] || die "it did not start"
url=http://127.0.0.1:$(<"$work/port")
export NNMF_DATA_CHECKSUMS=$work/sums no_proxy=127.0.0.1

# run STATUS URL ARGUMENT...: the script must exit with STATUS, and print one line on stderr if it fails.
run() {
    local expected=$1 status=0
    NNMF_DATA_URL=$2 "$script" "${@:3}" >"$work/out" 2>"$work/err" || status=$?
    ((status == expected)) || die "exit status $status, expected $expected"
    if ((expected == 0)); then return; fi
    (($(wc -l <"$work/err") == 1)) || die "expected one line on stderr"
}

stderr_has() {
    grep -qF -- "$1" "$work/err" || die "expected '$1' on stderr"
}

silent() {
    [[ ! -s $work/err ]] || die "expected nothing on stderr"
}

logged() {
    [[ $(<"$work/log") == "$1" ]] || die "expected these requests: $1"
}

# holds FILE...: the folder must contain exactly these files.
holds() {
    local listed
    listed=$(cd "$dir" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort)
    [[ $listed == "$(printf '%s\n' "$@" | LC_ALL=C sort)" ]] || die "$dir holds $listed"
}

same() {
    cmp -s "$1" "$2" || die "$1 and $2 differ"
}

all_mnist_right() {
    holds "${files[@]}"
    for name in "${files[@]}"; do
        same "$dir/$name" "$work/served/$name"
    done
}

all_cifar10_right() {
    holds "${batches[@]}" batches.meta.txt
    for name in "${batches[@]}" batches.meta.txt; do
        same "$dir/$name" "$work/cifar-10-batches-bin/$name"
    done
}

whole_mnist=$(printf '200 /%s 0\n' "${files[@]}")
first=${files[0]}
size=$(stat -c %s "$work/served/$first")

begin "fresh download, MNIST" "new folder/mnist"
run 0 "$url" mnist "$dir"
silent
logged "$whole_mnist"
all_mnist_right

begin "a second run downloads nothing" "new folder/mnist"
run 0 "$url/" mnist "$dir"
silent
logged ""
all_mnist_right

begin "a .part is resumed" resumed
mkdir "$dir"
head -c 1000 "$work/served/$first" >"$dir/$first.part"
run 0 "$url" mnist "$dir"
silent
logged "206 /$first 1000
$(tail -n 3 <<<"$whole_mnist")"
all_mnist_right

begin "a complete .part needs no request" complete
mkdir "$dir"
cp "$work/served/$first" "$dir/$first.part"
run 0 "$url" mnist "$dir"
logged "$(tail -n 3 <<<"$whole_mnist")"
all_mnist_right

begin "a .part of another file is restarted" garbage
mkdir "$dir"
head -c 1000 /dev/zero >"$dir/$first.part"
run 0 "$url" mnist "$dir"
logged "206 /$first 1000
$whole_mnist"
all_mnist_right

begin "a .part that is too long is restarted" long
mkdir "$dir"
head -c $((size + 10)) /dev/zero >"$dir/$first.part"
run 0 "$url" mnist "$dir"
logged "416 /$first $((size + 10))
$whole_mnist"
all_mnist_right

begin "a server without ranges" noranges
mkdir "$dir"
head -c 1000 "$work/served/$first" >"$dir/$first.part"
run 0 "$url/noranges" mnist "$dir"
all_mnist_right

begin "a broken connection keeps the .part" cut
run 1 "$url/cut" mnist "$dir"
stderr_has "cannot download: $url/cut/$first: curl: (18)"
holds "$first.part"
cmp -s -n $((size / 2)) "$dir/$first.part" "$work/served/$first" || die "the .part is wrong"
: >"$work/log"
run 0 "$url" mnist "$dir"
logged "206 /$first $((size / 2))
$(tail -n 3 <<<"$whole_mnist")"
all_mnist_right

begin "a corrupt download is refused" corrupt
run 1 "$url/corrupt" mnist "$dir"
stderr_has "cannot download: $url/corrupt/$first: wrong SHA-256, expected "
[[ -z $(ls -A "$dir") ]] || die "something was left behind"

begin "a wrong file is kept if its replacement is corrupt" corrupt
echo mine >"$dir/$first"
status=0
NNMF_DATA_URL=$url/corrupt "$script" mnist "$dir" >"$work/out" 2>"$work/err" || status=$?
((status == 1)) || die "exit status $status, expected 1"
(($(wc -l <"$work/err") == 2)) || die "expected two lines on stderr"
stderr_has "fetch-data: wrong SHA-256: $dir/$first: downloading it again"
[[ $(<"$dir/$first") == mine ]] || die "the old file was changed"
holds "$first"

begin "a wrong file is replaced" corrupt
run 0 "$url" mnist "$dir"
stderr_has "fetch-data: wrong SHA-256: $dir/$first: downloading it again"
(($(wc -l <"$work/err") == 1)) || die "expected one line on stderr"
all_mnist_right

begin "fresh download, CIFAR-10" cifar10
run 0 "$url" cifar10 "$dir"
silent
logged "200 /$archive 0"
all_cifar10_right

begin "a second run downloads nothing, CIFAR-10" cifar10
run 0 "$url" cifar10 "$dir"
logged ""
all_cifar10_right

begin "a missing and a wrong batch are replaced" cifar10
rm "$dir/data_batch_2.bin"
echo mine >"$dir/test_batch.bin"
mkdir "$dir/.unpacked"
echo old >"$dir/.unpacked/data_batch_1.bin"
run 0 "$url" cifar10 "$dir"
stderr_has "wrong SHA-256: $dir/test_batch.bin: downloading it again"
logged "200 /$archive 0"
all_cifar10_right

begin "the archive is resumed" cifar10_resumed
mkdir "$dir"
head -c 1000 "$work/served/$archive" >"$dir/$archive.part"
run 0 "$url" cifar10 "$dir"
logged "206 /$archive 1000"
all_cifar10_right

begin "an existing archive is used" cifar10_at_hand
mkdir "$dir"
cp "$work/served/$archive" "$dir"
run 0 "$url" cifar10 "$dir"
logged ""
all_cifar10_right

begin "a batch in the archive is wrong" cifar10_bad
mkdir "$work/other"
sed "s/^[0-9a-f]*  test_batch/$(printf '0%.0s' {1..64})  test_batch/" \
    "$work/sums/cifar10.sha256" >"$work/other/cifar10.sha256"
NNMF_DATA_CHECKSUMS=$work/other run 1 "$url" cifar10 "$dir"
stderr_has "wrong SHA-256: test_batch.bin of $dir/$archive: expected 0000"
holds "$archive"

begin "a file missing on the server" lacking
run 1 "$url/elsewhere" mnist "$dir"
stderr_has "cannot download: $url/elsewhere/$first: curl: (22)"

begin "another download is running" busy
mkdir "$dir"
exec 9<"$dir"
flock 9
run 1 "$url" mnist "$dir"
stderr_has "busy: $dir: "
exec 9<&-

begin "no checksums" nosums
NNMF_DATA_CHECKSUMS=$work/none run 1 "$url" mnist "$dir"
stderr_has "cannot read: $work/none/mnist.sha256: "
printf 'abc  name\n' >"$work/other/mnist.sha256"
NNMF_DATA_CHECKSUMS=$work/other run 1 "$url" mnist "$dir"
stderr_has "bad line: $work/other/mnist.sha256: "
: >"$work/other/mnist.sha256"
NNMF_DATA_CHECKSUMS=$work/other run 1 "$url" mnist "$dir"
stderr_has "empty list: $work/other/mnist.sha256: "

begin "a folder that cannot be made" resumed
run 1 "$url" mnist "$dir/$first/below"
stderr_has "cannot make folder: "

begin "wrong usage" usage
run 2 "$url"
run 2 "$url" cifar100
stderr_has "unknown dataset: cifar100: "
run 2 "$url" mnist "$dir" more
run 2 "$url" mnist --force
run 2 "$url" mnist ""
run 0 "$url" --help
grep -q '^usage: ' "$work/out" || die "no usage"
logged ""

begin "the committed checksum lists" lists
for name in cifar10 mnist fashion-mnist; do
    list=${script%/*}/checksums/$name.sha256
    lines=$(grep -cE '^[0-9a-f]{64}  [a-z0-9_.-]+$' "$list") || die "nothing in $list"
    expected=4
    [[ $name != cifar10 ]] || expected=7
    ((lines == expected)) || die "$lines lines in $list, expected $expected"
done

# own_case NAME ENVIRONMENT... COMMAND: downloads into the data folder of a checkout, from inside it.
checkout="$work/a checkout"
mkdir -p "$checkout/scripts/checksums" "$work/home"
touch "$checkout/CMakeLists.txt"
cp "$script" "$checkout/scripts/"
cp "$work"/sums/*.sha256 "$checkout/scripts/checksums/"
ln -s "$checkout/scripts/fetch-data" "$work/a link"
printf '%s\n' include 'header = "Range: bytes=0-9"' >"$work/home/.curlrc"
own_case() {
    local status=0
    begin "the user's own: $1" "a checkout/data/cifar10"
    rm -rf "$dir"
    (cd "$checkout" && env -u NNMF_DATA_CHECKSUMS NNMF_DATA_URL="$url" "${@:2}" cifar10) \
        >"$work/out" 2>"$work/err" || status=$?
    ((status == 0)) || die "exit status $status, expected 0"
    silent
    [[ $(<"$work/out") == *"cifar10 is complete in $dir" ]] || die "it printed $(<"$work/out")"
    all_cifar10_right
}
own_case "nothing" scripts/fetch-data
own_case "CDPATH" CDPATH=.:.. scripts/fetch-data
own_case "a link to the script" "$work/a link"
own_case "sh" sh scripts/fetch-data
own_case "POSIX mode" POSIXLY_CORRECT=1 scripts/fetch-data
own_case "options of tar and gzip" TAR_OPTIONS=--exclude=* GZIP=-v scripts/fetch-data
own_case "options of curl" HOME="$work/home" CURL_HOME="$work/home" scripts/fetch-data
sed -i 's/$/\r/' "$checkout"/scripts/checksums/*.sha256
own_case "lists of checksums with CR LF line ends" scripts/fetch-data

begin "the server is down" down
mkdir "$dir"
head -c 1000 "$work/served/$first" >"$dir/$first.part"
kill "$server"
wait "$server" 2>/dev/null || true
server=
run 1 "$url" mnist "$dir"
stderr_has "cannot download: $url/$first: curl: (7)"
holds "$first.part"
(($(stat -c %s "$dir/$first.part") == 1000)) || die "the .part was changed"

echo "fetch-data: all cases passed"
