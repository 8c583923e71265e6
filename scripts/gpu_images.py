"""Packs and unpacks CIFAR-10 for scripts/gpu-pack.

A packed batch is one lossless WebP picture of all its images, a file with its labels and one with the
SHA-256 of the official file.

    gpu_images.py pack DATA PART OUT --sums FILE [--keep OLD]
    gpu_images.py unpack PACK OUT

pack    packs the official files in DATA for a part and writes them to OUT; copies files from OLD if
        they were made from the same official file
unpack  writes the official files to OUT and verifies them, keeping files that exist; replaces each of
        data_batch_2 to 5 whose part is missing with a link to data_batch_1, and prints a warning
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import sys

SIDE, PIXELS = 32, 3 * 32 * 32
COLUMNS = 100  # images per row of the picture
FIRST = "data_batch_1"
BATCHES = {  # of a part
    "tests": (FIRST, "test_batch"),
    "images-a": ("data_batch_2", "data_batch_3", "data_batch_4"),
    "images-b": ("data_batch_5",),
}
ENDS = (".webp", ".labels", ".sha256")
CLASSES = "batches.meta.txt"  # in the part tests, if the data have it


def say(text):
    print(f"{os.environ.get('NNMF_SCRIPT', 'gpu_images.py')}: {text}", file=sys.stderr)


def die(text):
    say(text)
    sys.exit(1)


def need_libraries():
    """Imports NumPy and Pillow, which only reading and writing pictures needs."""
    global np, Image
    try:
        import numpy as np
        from PIL import Image, features
    except ImportError as error:
        die(f"no {error.name}: {sys.executable}: Python with NumPy and Pillow was expected")
    if not features.check("webp"):
        die(f"no WebP: Pillow of {sys.executable}: support for WebP was expected")
    Image.MAX_IMAGE_PIXELS = None


def write_file(path, data):
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.rename(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        die(f"cannot write: {path}: {error.strerror}")


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def read_sum(path):
    return path.read_text().strip() if path.exists() else ""


# ---- pack ----


def encode(path, data, out):
    """Writes a batch's files. Higher compression methods of WebP take much longer and save little."""
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)
    columns = min(COLUMNS, len(records))
    rows = -(-len(records) // columns)
    images = np.zeros((rows * columns, PIXELS), np.uint8)
    images[:len(records)] = records[:, 1:]
    picture = images.reshape(rows, columns, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    picture = np.ascontiguousarray(picture).reshape(rows * SIDE, columns * SIDE, 3)
    part = out.with_suffix(".webp")
    try:
        Image.fromarray(picture).save(part, "WEBP", lossless=True, method=0, quality=50)
        out.with_suffix(".labels").write_bytes(records[:, 0].tobytes())
        out.with_suffix(".sha256").write_text(sum_of(data) + "\n")
    except OSError as error:
        die(f"cannot write: {part}: {error.strerror or error}")


def read_sums(path):
    words = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return {line[1]: line[0] for line in words if len(line) == 2}


def pack(args):
    expected = read_sums(args.sums)
    for name in BATCHES[args.part]:
        path = args.data / f"{name}.bin"
        try:
            data = path.read_bytes()
        except OSError as error:
            die(f"cannot read: {path}: {error.strerror}")
        if not data or len(data) % (1 + PIXELS) or sum_of(data) != expected.get(path.name):
            die(f"wrong SHA-256: {path}: the official file was expected (scripts/fetch-data cifar10)")
        if args.keep and read_sum(args.keep / f"{name}.sha256") == sum_of(data):
            for end in ENDS:
                shutil.copyfile(args.keep / (name + end), args.out / (name + end))
        else:
            need_libraries()
            encode(path, data, args.out / name)
    if args.part == "tests" and (args.data / CLASSES).exists():
        shutil.copyfile(args.data / CLASSES, args.out / CLASSES)


# ---- unpack ----


def decode(source):
    """Unpacks a batch -> the bytes of the official file."""
    need_libraries()
    try:
        labels = np.fromfile(source.with_suffix(".labels"), np.uint8)
        picture = np.asarray(Image.open(source.with_suffix(".webp")).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        die(f"cannot read: {source}.webp: {error}: a complete pack was expected")
    rows, columns = (size // SIDE for size in picture.shape[:2])
    images = picture.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3)
    images = images.reshape(rows * columns, PIXELS)[:len(labels)]
    return np.concatenate([labels[:len(images), None], images], axis=1).tobytes()


def unpack_batch(source, out):
    """Writes the official file and, once it is verified, its checksum next to it."""
    path, wanted = out / f"{source.name}.bin", read_sum(source.with_suffix(".sha256"))
    if path.exists() and not path.is_symlink() and read_sum(path.with_suffix(".sha256")) == wanted:
        return
    data = decode(source)
    if sum_of(data) != wanted:
        die(f"wrong SHA-256: {source}.webp, unpacked: a complete pack was expected")
    write_file(path, data)
    write_file(path.with_suffix(".sha256"), f"{wanted}\n".encode())


def unpack(args):
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        die(f"cannot make folder: {args.out}: {error.strerror}")
    copies = []
    for part, names in BATCHES.items():
        folder = args.pack / part / "data"
        for name in names:
            path = args.out / f"{name}.bin"
            if folder.exists() or part == "tests":
                unpack_batch(folder / name, args.out)
            elif not path.exists() or path.is_symlink():
                copies.append(name)
                if not path.is_symlink():
                    path.symlink_to(f"{FIRST}.bin")
    if (args.pack / "tests" / "data" / CLASSES).exists():
        write_file(args.out / CLASSES, (args.pack / "tests" / "data" / CLASSES).read_bytes())
    if copies:
        say(f"NOT ALL OF CIFAR-10: {', '.join(copies)}: replaced by copies of {FIRST}, for timing "
            "only: scripts/gpu-pack images-a images-b packs the real ones")


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("pack")
    command.set_defaults(function=pack)
    command.add_argument("data", type=pathlib.Path)
    command.add_argument("part", choices=BATCHES)
    command.add_argument("out", type=pathlib.Path)
    command.add_argument("--sums", type=pathlib.Path, required=True)
    command.add_argument("--keep", type=pathlib.Path)
    command = commands.add_parser("unpack")
    command.set_defaults(function=unpack)
    command.add_argument("pack", type=pathlib.Path)
    command.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
