#include "data_folder.h"

#include "decoding.h"
#include "nnmf/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH = 4096 };

static char path_of_folder[PATH];

const char *const folder = path_of_folder;

int make_folder(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(path_of_folder, sizeof path_of_folder, "%s/nnmf-dataset-XXXXXX",
             parent ? parent : "/tmp");
    return mkdtemp(path_of_folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

int remove_folder(void **state)
{
    (void)state;
    memory_fail_after(-1);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *in_folder(const char *name)
{
    static char path[PATH + 256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void write_gzip(const char *name, const uint8_t *bytes, size_t size)
{
    size_t packed_size;
    uint8_t *packed = gzip(bytes, size, &packed_size);
    write_file(name, packed, packed_size);
    free(packed);
}

void write_byte(const char *name, long place, int byte)
{
    FILE *file = fopen(in_folder(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

void write_batch(const char *name, uint8_t label)
{
    uint8_t record[RECORD];
    for (size_t i = 0; i < RECORD; i++)
        record[i] = pattern(i);
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    record[0] = label;
    assert_int_equal(fwrite(record, 1, RECORD, file), RECORD);
    assert_int_equal(fseek(file, (RECORDS - 1L) * RECORD, SEEK_SET), 0);
    record[0] = (uint8_t)(label + 1);
    assert_int_equal(fwrite(record, 1, RECORD, file), RECORD);
    assert_int_equal(fclose(file), 0);
}

void put_word(uint8_t *bytes, size_t word)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(word >> (24 - 8 * i));
}

uint8_t *make_idx(int rank, const size_t *dimensions, size_t *size)
{
    size_t elements = 1, header = 4 + 4 * (size_t)rank;
    for (int i = 0; i < rank; i++)
        elements *= dimensions[i];
    uint8_t *bytes = malloc(header + elements);
    assert_non_null(bytes);
    put_word(bytes, 0x800 + (size_t)rank);
    for (int i = 0; i < rank; i++)
        put_word(bytes + 4 + 4 * i, dimensions[i]);
    for (size_t i = 0; i < elements; i++)
        bytes[header + i] = rank == 1 ? (uint8_t)(i % 10) : pattern(i);
    *size = header + elements;
    return bytes;
}

void write_idx(Writer *writer, const char *name, int rank, size_t count, size_t height,
               size_t width)
{
    size_t size, dimensions[3] = {count, height, width};
    uint8_t *bytes = make_idx(rank, dimensions, &size);
    writer(name, bytes, size);
    free(bytes);
}

void assert_load_fails(DatasetKind kind, DatasetSplit split, const char *part)
{
    ImageSet images;
    memset(&images, 0xa5, sizeof images);
    Error error = {0};
    assert_failed(dataset_load(kind, split, folder, &images, &error), &error, part);
    assert_int_equal(images.count, 0);
    assert_null(images.pixels);
    assert_null(images.labels);
}

void assert_survives_lack_of_memory(DatasetKind kind, DatasetSplit split, long minimum)
{
    ImageSet images;
    bool good = false;
    long allowed = 0;
    for (; !good && allowed < 100; allowed++) {
        Error error = {0};
        memory_fail_after(allowed);
        good = dataset_load(kind, split, folder, &images, &error);
        memory_fail_after(-1);
        if (!good) {
            assert_failed(good, &error, "out of memory: ");
            assert_null(images.pixels);
        }
    }
    assert_true(good);
    assert_in_range(allowed - 1, minimum, 99);
    image_set_free(&images);
}
