/* Event files, parsed by code of the test's own: CRCs, records and Protocol Buffers. */
#include "formats/event_file.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int enter_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_event_file.XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    DIR *listing = opendir(folder);
    for (const struct dirent *entry; (entry = readdir(listing));)
        unlink(entry->d_name);
    closedir(listing);
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

/* ---- reading by hand ---- */

/* CRC-32C by its definition (RFC 3720, appendix B.4). */
static uint32_t crc32c(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static uint32_t masked(const uint8_t *bytes, size_t count)
{
    uint32_t crc = crc32c(bytes, count);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static uint64_t number(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

typedef struct Bytes {
    const uint8_t *at;
    size_t count;
} Bytes;

/* Returns the data of the first record and removes it from `content`. */
static Bytes next_record(Bytes *content)
{
    assert_true(content->count >= 16);
    size_t length = number(content->at, 8);
    assert_int_equal(number(content->at + 8, 4), masked(content->at, 8));
    assert_true(length <= content->count - 16);
    Bytes data = {content->at + 12, length};
    assert_int_equal(number(data.at + length, 4), masked(data.at, length));
    content->at += length + 16;
    content->count -= length + 16;
    return data;
}

static uint64_t next_varint(Bytes *message)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        assert_true(message->count > 0);
        uint8_t byte = *message->at;
        message->at++;
        message->count--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    fail_msg("a varint of more than ten bytes");
    return 0;
}

/* Finds the first field `wanted` of wire type 0 (sets *value), 1, 2 or 5 (set *content). Returns
 * false if there is none. */
static bool find(Bytes message, uint64_t wanted, Bytes *content, uint64_t *value)
{
    while (message.count > 0) {
        uint64_t key = next_varint(&message);
        *value = (key & 7) == 0 ? next_varint(&message) : 0;
        size_t size = (key & 7) == 1   ? 8
                      : (key & 7) == 2 ? next_varint(&message)
                      : (key & 7) == 5 ? 4
                                       : 0;
        assert_true(size <= message.count);
        *content = (Bytes){message.at, size};
        message.at += size;
        message.count -= size;
        if (key >> 3 == wanted)
            return true;
    }
    *value = 0;
    return false;
}

static Bytes field(Bytes message, uint64_t wanted)
{
    Bytes content;
    uint64_t value;
    assert_true(find(message, wanted, &content, &value));
    return content;
}

/* Returns a number field, 0 if it is omitted. */
static uint64_t varint(Bytes message, uint64_t wanted)
{
    Bytes content;
    uint64_t value;
    find(message, wanted, &content, &value);
    return value;
}

static void assert_bytes(Bytes content, const char *text)
{
    assert_int_equal(content.count, strlen(text));
    assert_memory_equal(content.at, text, content.count);
}

static double wall_time(Bytes event)
{
    Bytes content = field(event, 1);
    double seconds;
    assert_int_equal(content.count, 8);
    memcpy(&seconds, content.at, 8);
    return seconds;
}

static float simple_value(Bytes value)
{
    Bytes content = field(value, 2);
    float result;
    assert_int_equal(content.count, 4);
    memcpy(&result, content.at, 4);
    return result;
}

/* Checks an event's step and tag; returns its summary's value. */
static Bytes check_summary(Bytes event, uint64_t step, const char *tag)
{
    assert_int_equal(varint(event, 2), step);
    Bytes value = field(field(event, 5), 1);
    assert_bytes(field(value, 1), tag);
    return value;
}

static void check_version(Bytes event)
{
    assert_bytes(field(event, 3), "brain.Event:2");
    assert_bytes(field(field(event, 10), 1), "nnmf-train");
    assert_int_equal(varint(event, 2), 0);
}

/* ---- files ---- */

static Bytes read_whole(const char *path)
{
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    assert_true(file_read(path, 1 << 20, &bytes, &count, &error));
    return (Bytes){bytes, count};
}

static void write_whole(const char *path, Bytes content)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(content.at, 1, content.count, stream), content.count);
    assert_int_equal(fclose(stream), 0);
}

static void free_contents(Bytes content)
{
    memory_free((uint8_t *)content.at);
}

static size_t count_files(void)
{
    DIR *listing = opendir(".");
    assert_non_null(listing);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(listing));)
        count += entry->d_name[0] != '.';
    closedir(listing);
    return count;
}

static void open_file(EventFile *file)
{
    Error error = {0};
    assert_true(event_file_open(file, folder, &error));
}

static void add_scalar(EventFile *file, uint64_t step, double value)
{
    Error error = {0};
    assert_true(event_file_scalar(file, step, "a/b", value, &error));
}

static void flush(EventFile *file)
{
    Error error = {0};
    assert_true(event_file_flush(file, &error));
}

/* Writes a file with a scalar at each of the steps 0 .. steps - 1; sets its path. */
static void make_file(uint64_t steps, char path[4096])
{
    EventFile file;
    open_file(&file);
    for (uint64_t step = 0; step < steps; step++)
        add_scalar(&file, step, 10.0 * (double)step);
    flush(&file);
    strcpy(path, file.path);
    event_file_close(&file);
}

/* Asserts that the file holds make_file's scalars of this number of steps and nothing else. */
static void check_steps(const char *path, uint64_t steps)
{
    Bytes content = read_whole(path), remainder = content;
    check_version(next_record(&remainder));
    for (uint64_t step = 0; step < steps; step++)
        assert_true(simple_value(check_summary(next_record(&remainder), step, "a/b")) ==
                    10.0f * (float)step);
    assert_int_equal(remainder.count, 0);
    free_contents(content);
}

static void cut_files(uint64_t keep)
{
    Error error = {0};
    assert_true(event_files_cut(folder, keep, &error));
}

/* ---- tests ---- */

static void the_crc_of_this_test_is_the_published_one(void **state)
{
    (void)state;
    assert_int_equal(crc32c((const uint8_t *)"123456789", 9), 0xe3069283u);
    uint8_t zeros[32] = {0}; /* RFC 3720, B.4 */
    assert_int_equal(crc32c(zeros, 32), 0x8a9136aau);
}

static void every_kind_of_event_is_read_back(void **state)
{
    (void)state;
    Error error = {0};
    uint8_t pixels[] = {1, 2, 3, 4, 5, 6};
    Picture picture = {.width = 2, .height = 1, .channels = 3, .pixels = pixels};
    EventFile file;
    open_file(&file);
    assert_true(event_file_restart(&file, 7, &error));
    assert_true(event_file_scalar(&file, 7, "loss/train", 0.1, &error));
    assert_true(event_file_scalar(&file, 300, "zero", 0.0, &error));
    assert_true(event_file_picture(&file, 8, "picture", &picture, &error));
    assert_true(event_file_text(&file, 9, "text", "| a |", &error));
    assert_int_equal(count_files(), 0);
    flush(&file);
    assert_int_equal(count_files(), 1);
    assert_true(strncmp(file.path + strlen(folder), "/events.out.tfevents.", 21) == 0);

    Bytes content = read_whole(file.path), remainder = content;
    Bytes version = next_record(&remainder);
    check_version(version);
    double now = (double)time(NULL);
    assert_true(wall_time(version) > now - 60 && wall_time(version) < now + 2);

    Bytes restart = next_record(&remainder);
    assert_int_equal(varint(restart, 2), 7);
    assert_int_equal(varint(field(restart, 7), 1), 1);

    assert_true(simple_value(check_summary(next_record(&remainder), 7, "loss/train")) == 0.1f);
    assert_true(simple_value(check_summary(next_record(&remainder), 300, "zero")) == 0.0f);

    Bytes image = field(check_summary(next_record(&remainder), 8, "picture"), 4);
    assert_int_equal(varint(image, 1), 1); /* height */
    assert_int_equal(varint(image, 2), 2); /* width */
    assert_int_equal(varint(image, 3), 3); /* channels */
    Bytes png = field(image, 4);
    Picture back;
    assert_true(picture_decode_png(png.at, png.count, "png", &back, &error));
    assert_memory_equal(back.pixels, pixels, sizeof pixels);
    picture_free(&back);

    Bytes value = check_summary(next_record(&remainder), 9, "text");
    Bytes metadata = field(value, 9), tensor = field(value, 8);
    assert_bytes(field(field(metadata, 1), 1), "text");
    assert_int_equal(varint(metadata, 4), 2); /* DATA_CLASS_TENSOR */
    assert_int_equal(varint(tensor, 1), 7);   /* DT_STRING */
    assert_int_equal(varint(field(field(tensor, 2), 2), 1), 1);
    assert_bytes(field(tensor, 8), "| a |");
    assert_int_equal(remainder.count, 0);
    free_contents(content);
    event_file_close(&file);
}

static void a_flush_appends(void **state)
{
    (void)state;
    EventFile file;
    open_file(&file);
    for (uint64_t step = 0; step < 3; step++) {
        add_scalar(&file, step, 10.0 * (double)step);
        flush(&file);
        flush(&file);
        check_steps(file.path, step + 1);
    }
    struct stat before, after;
    assert_int_equal(stat(file.path, &before), 0);
    add_scalar(&file, 3, 30.0);
    flush(&file);
    assert_int_equal(stat(file.path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* open readers see the new events */
    char path[4096];
    strcpy(path, file.path);
    add_scalar(&file, 4, 40.0);
    event_file_close(&file); /* drops the event that was not flushed */
    check_steps(path, 4);
}

static void names_are_in_the_order_of_time(void **state)
{
    (void)state;
    char name[] = "events.out.tfevents.9000000000.far.1", first[4096], second[4096];
    write_whole(name, (Bytes){(const uint8_t *)"", 0}); /* written under a clock that was ahead */
    make_file(1, first);
    make_file(1, second);
    assert_true(strcmp(strrchr(first, '/') + 1, name) > 0);
    assert_true(strcmp(second, first) > 0);
    assert_int_equal(count_files(), 3);
}

static void steps_from_the_resume_point_are_cut(void **state)
{
    (void)state;
    char path[4096], other[4096];
    make_file(5, path);
    make_file(2, other);
    cut_files(5);
    check_steps(path, 5);
    cut_files(3);
    check_steps(path, 3);
    check_steps(other, 2);
    cut_files(1);
    check_steps(path, 1);
    check_steps(other, 1);
    cut_files(0); /* only the versions are left; the last file is kept */
    assert_int_equal(count_files(), 1);
    check_steps(other, 0);
    cut_files(0);
    check_steps(other, 0);
    make_file(1, path);
    cut_files(1);
    assert_int_equal(count_files(), 1);
    check_steps(path, 1);
}

static void a_partial_record_of_any_length_is_cut(void **state)
{
    (void)state;
    char path[4096];
    make_file(2, path);
    Bytes content = read_whole(path), remainder = content;
    next_record(&remainder);
    size_t first = content.count - remainder.count;
    next_record(&remainder);
    size_t second = content.count - remainder.count;
    for (size_t size = second; size < content.count; size++) {
        write_whole(path, (Bytes){content.at, size});
        cut_files(UINT64_MAX);
        check_steps(path, 1);
    }
    for (size_t size = first + 1; size < second; size++) {
        write_whole(path, (Bytes){content.at, size});
        cut_files(UINT64_MAX);
        check_steps(path, 0);
    }
    free_contents(content);
}

static void a_changed_bit_ends_a_file(void **state)
{
    (void)state;
    char path[4096];
    make_file(2, path);
    Bytes content = read_whole(path), remainder = content;
    next_record(&remainder);
    next_record(&remainder);
    size_t second = content.count - remainder.count;
    for (size_t i = second; i < content.count; i++) {
        ((uint8_t *)content.at)[i] ^= 0x10;
        write_whole(path, content);
        cut_files(UINT64_MAX);
        check_steps(path, 1);
        ((uint8_t *)content.at)[i] ^= 0x10;
    }
    free_contents(content);
}

/* Files of other programs, and files that are not event files, are not changed. */
static void other_files_are_not_changed(void **state)
{
    (void)state;
    char path[4096];
    make_file(2, path);
    Bytes content = read_whole(path);
    uint8_t *writer = memmem(content.at, content.count, "nnmf-train", 10);
    assert_non_null(writer);
    writer[0] = 'N';
    size_t length = number(content.at, 8);
    uint32_t crc = masked(content.at + 12, length);
    for (int i = 0; i < 4; i++)
        ((uint8_t *)content.at)[12 + length + (size_t)i] = (uint8_t)(crc >> 8 * i);
    static const char *const texts[] = {"", "x", "some text that is long enough for a record"};
    for (int i = -1; i < 3; i++) {
        Bytes written = i < 0 ? content : (Bytes){(const uint8_t *)texts[i], strlen(texts[i])};
        write_whole(path, written);
        cut_files(0);
        Bytes left = read_whole(path);
        assert_int_equal(left.count, written.count);
        assert_memory_equal(left.at, written.at, left.count);
        free_contents(left);
    }
    free_contents(content);
}

/* Simulates a full disk by a limit on the file size. */
static void a_failed_flush_keeps_the_old_contents(void **state)
{
    (void)state;
    Error error = {0};
    EventFile file;
    open_file(&file);
    add_scalar(&file, 0, 0.0);
    flush(&file);
    for (uint64_t step = 1; step < 20; step++)
        add_scalar(&file, step, 10.0 * (double)step);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = file.written + 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool done = event_file_flush(&file, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(done);
    assert_true(strncmp(error.text, "cannot write: /tmp/test_event_file.", 35) == 0);
    assert_non_null(strstr(error.text, ": File too large"));
    check_steps(file.path, 1);
    flush(&file); /* there is space again */
    check_steps(file.path, 20);
    event_file_remove(&file);
    assert_int_equal(count_files(), 0);
}

static void impossible_places_are_errors(void **state)
{
    (void)state;
    Error error = {0};
    EventFile file;
    assert_false(event_file_open(&file, "none", &error));
    assert_string_equal(error.text, "cannot read: none: No such file or directory");
    event_file_close(&file);
    assert_false(event_files_cut("none", 0, &error));
    open_file(&file);
    write_whole(file.path, (Bytes){(const uint8_t *)"", 0}); /* created by another process */
    assert_false(event_file_flush(&file, &error));
    assert_non_null(strstr(error.text, ": File exists"));
    event_file_remove(&file); /* does not delete it: it is not ours */
    assert_int_equal(count_files(), 1);
}

static void every_failing_allocation_is_an_error(void **state)
{
    (void)state;
    Error error = {0};
    EventFile file;
    memory_fail_after(0);
    assert_false(event_file_open(&file, folder, &error));
    memory_fail_after(-1);
    event_file_close(&file);
    assert_true(strncmp(error.text, "out of memory: ", 15) == 0);

    char path[4096];
    make_file(2, path);
    error = (Error){0};
    memory_fail_after(0);
    assert_false(event_files_cut(folder, 0, &error));
    memory_fail_after(-1);
    assert_true(strncmp(error.text, "out of memory: ", 15) == 0);
    check_steps(path, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_crc_of_this_test_is_the_published_one),
        TEST(every_kind_of_event_is_read_back),
        TEST(a_flush_appends),
        TEST(names_are_in_the_order_of_time),
        TEST(steps_from_the_resume_point_are_cut),
        TEST(a_partial_record_of_any_length_is_cut),
        TEST(a_changed_bit_ends_a_file),
        TEST(other_files_are_not_changed),
        TEST(a_failed_flush_keeps_the_old_contents),
        TEST(impossible_places_are_errors),
        TEST(every_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
