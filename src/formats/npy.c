#include "formats/npy.h"

#include "base/file.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "elements are written as they are in memory");

/* Two sizes of at most 20 digits and the padding fit into 128 bytes. */
enum { PREFIX = 10, ALIGNMENT = 64, MAX_HEADER = 128 };

static size_t make_header(char header[MAX_HEADER + 1], size_t rows, size_t columns)
{
    memset(header, ' ', MAX_HEADER);
    int length =
        snprintf(header + PREFIX, MAX_HEADER + 1 - PREFIX,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
    size_t used = PREFIX + (size_t)length;
    size_t padded = (used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    header[used] = ' '; /* instead of the terminator */
    header[padded - 1] = '\n';
    size_t size = padded - PREFIX;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(size & 0xff);
    header[9] = (char)(size >> 8);
    return padded;
}

bool npy_write_f32(const char *path, const float *data, size_t rows, size_t columns, Error *error)
{
    size_t elements, bytes;
    if (__builtin_mul_overflow(rows, columns, &elements) ||
        __builtin_mul_overflow(elements, sizeof *data, &bytes))
        return fail(error, "cannot write: %s: %zu x %zu elements exceed the address space", path,
                    rows, columns);
    char header[MAX_HEADER + 1];
    size_t length = make_header(header, rows, columns);
    FileWriter writer;
    if (!file_writer_open(&writer, path, error))
        return false;
    fwrite(header, 1, length, writer.stream);
    if (bytes > 0)
        fwrite(data, 1, bytes, writer.stream);
    return file_writer_commit(&writer, error);
}
