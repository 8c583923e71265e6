"""Encodes PNG files of every type for the tests, and decodes them, with zlib and NumPy only."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(pixels, depth):
    """Packs each row, unfiltered. pixels: height x width x channels."""
    flat = pixels.reshape(len(pixels), -1).astype(">u2" if depth == 16 else np.uint8)
    if depth < 8:
        bits = (flat[..., None] >> np.arange(depth)[::-1]) & 1
        flat = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in flat)


def encode(pixels, kind=RGB, depth=8, palette=None, transparency=b"", interlace=False):
    """Encodes pixels: height x width x channels, integers below 2^depth."""
    pixels = np.asarray(pixels)
    height, width, channels = pixels.shape
    assert channels == CHANNELS[kind]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlace))
    parts = [pixels]
    if interlace:
        parts = [pixels[y::dy, x::dx] for y, x, dy, dx in ADAM7]
    data = b"".join(rows(part, depth) for part in parts if part.size)
    content = SIGNATURE + chunk(b"IHDR", header)
    if palette is not None:
        content += chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
    if transparency:
        content += chunk(b"tRNS", transparency)
    return content + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _chunks(content):
    assert content[:8] == SIGNATURE
    at = 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4:at + 8], content[at + 8:at + 8 + length]
        (check,) = struct.unpack_from(">I", content, at + 8 + length)
        assert check == zlib.crc32(kind + data), kind
        yield kind, data
        at += 12 + length


def _paeth(line, above, step):
    for i in range(len(line)):
        up, left, corner = above[i], 0, 0
        if i >= step:
            left, corner = line[i - step], above[i - step]
        near_left, near_up = abs(up - corner), abs(left - corner)
        near_corner = abs(left + up - 2 * corner)
        if near_left <= near_up and near_left <= near_corner:
            guess = left
        else:
            guess = up if near_up <= near_corner else corner
        line[i] = (line[i] + guess) & 255


def _unfilter(kind, line, above, step):
    """Reverses the filter of one row of bytes."""
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line.reshape(-1, step), axis=0, dtype=np.uint8).ravel()
    if kind == 2:
        return line + above
    line, above = line.tolist(), above.tolist()
    if kind == 3:
        for i in range(len(line)):
            left = line[i - step] if i >= step else 0
            line[i] = (line[i] + (left + above[i]) // 2) & 255
    else:
        _paeth(line, above, step)
    return np.array(line, np.uint8)


def decode(content):
    """Decodes grey or RGB, with or without alpha, 8 bits, not interlaced -> height x width x channels."""
    found = {}
    for kind, data in _chunks(content):
        found[kind] = found.get(kind, b"") + data
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert depth == 8 and kind != PALETTE and not interlace and b"IEND" in found
    channels = CHANNELS[kind]
    data = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8)
    data = data.reshape(height, 1 + width * channels).copy()
    above = np.zeros(width * channels, np.uint8)
    for row in data:
        above = row[1:] = _unfilter(row[0], row[1:], above, channels)
    return data[:, 1:].reshape(height, width, channels)
