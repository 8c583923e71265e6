#include "base/file.h"

#include "nnmf/memory.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* Full path of the working folder, empty at the start of every test. */
static char folder[64];

/* Replaces the C library's read(): the kernel may return fewer bytes than requested, or none
 * because of a signal. */
static size_t max_read = SIZE_MAX;
static int interruptions;
ssize_t read(int descriptor, void *bytes, size_t count)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_read, descriptor, bytes, count < max_read ? count : max_read);
}

static int enter_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_file.XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static size_t count_files(void)
{
    DIR *listing = opendir(".");
    assert_non_null(listing);
    size_t count = 0;
    for (const struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return count;
}

static void write_text(const char *path, const char *text)
{
    Error error = {0};
    FileWriter writer;
    assert_true(file_writer_open(&writer, path, &error));
    fputs(text, writer.stream);
    assert_true(file_writer_commit(&writer, &error));
    assert_null(writer.stream);
    assert_int_equal(error.status, STATUS_OK);
}

static void assert_text(const char *path, const char *text)
{
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    assert_true(file_read(path, 1000, &bytes, &count, &error));
    assert_int_equal(count, strlen(text));
    assert_memory_equal(bytes, text, count);
    memory_free(bytes);
}

static void assert_unreadable(const char *path, size_t limit, const char *text)
{
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    assert_false(file_read(path, limit, &bytes, &count, &error));
    assert_null(bytes);
    assert_int_equal(error.status, STATUS_FAILED);
    assert_string_equal(error.text, text);
}

static void a_written_file_is_read_back(void **state)
{
    (void)state;
    write_text("a", "content");
    assert_text("a", "content");
    write_text("a", "other");
    assert_text("a", "other");
    write_text("a", "");
    assert_text("a", "");
    assert_int_equal(count_files(), 1);
    unlink("a");
}

static void a_full_path_works_as_well(void **state)
{
    (void)state;
    char path[80];
    Error error = {0};
    assert_true(file_join(path, sizeof path, folder, "a", &error));
    write_text(path, "content");
    assert_text("a", "content");
    unlink("a");
}

static void reading_refuses_other_than_regular_files(void **state)
{
    (void)state;
    assert_unreadable("a", 9, "cannot read: a: No such file or directory");
    assert_unreadable(".", 9, "cannot read: .: it is a folder, a file was expected");
    assert_unreadable("/dev/zero", 9,
                      "cannot read: /dev/zero: it is a pipe, a device or a socket, a regular file "
                      "was expected");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_unreadable("pipe", 9,
                      "cannot read: pipe: it is a pipe, a device or a socket, a regular file was "
                      "expected");
    unlink("pipe");
}

static void reading_respects_the_limit(void **state)
{
    (void)state;
    write_text("a", "12345");
    assert_unreadable("a", 4, "cannot read: a: it has 5 bytes, at most 4 were expected");
    assert_unreadable("a", 0, "cannot read: a: it has 5 bytes, at most 0 were expected");
    Error error = {0};
    uint8_t *bytes;
    size_t count;
    assert_true(file_read("a", 5, &bytes, &count, &error));
    memory_free(bytes);
    unlink("a");
}

static void reading_without_memory_is_an_error(void **state)
{
    (void)state;
    write_text("a", "12345");
    memory_fail_after(0);
    assert_unreadable("a", 9, "out of memory: a: 5 bytes were asked for");
    memory_fail_after(-1);
    unlink("a");
}

/* Files in /proc state a size of 0 bytes but have contents. */
static void a_file_that_changes_its_size_is_an_error(void **state)
{
    (void)state;
    assert_unreadable("/proc/self/status", 9,
                      "cannot read: /proc/self/status: its size changed while it was read, 0 bytes "
                      "were expected");
}

static void reading_goes_on_until_all_is_there(void **state)
{
    (void)state;
    write_text("a", "a content in parts");
    interruptions = 2;
    for (max_read = 1; max_read < 20; max_read++)
        assert_text("a", "a content in parts");
    max_read = SIZE_MAX;
    assert_int_equal(interruptions, 0);
    unlink("a");
}

static void files_of_several_names(void **state)
{
    (void)state;
    char one[128], other[128], link[128];
    snprintf(one, sizeof one, "%s/one", folder);
    snprintf(other, sizeof other, "%s/./one", folder);
    snprintf(link, sizeof link, "%s/link", folder);
    assert_true(file_same(one, other)); /* neither exists */
    assert_false(file_same(one, link));
    assert_false(file_same("/none/a", "/none/b"));
    FILE *file = fopen(one, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(symlink(one, link), 0);
    assert_true(file_same(one, other));
    assert_true(file_same(link, other));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(one), 0);
}

static void absolute_paths(void **state)
{
    (void)state;
    char path[4096], working[4096], expected[4200];
    Error error = {0};
    assert_true(file_absolute(path, sizeof path, "/a/b", &error));
    assert_string_equal(path, "/a/b");
    assert_non_null(getcwd(working, sizeof working));
    snprintf(expected, sizeof expected, "%s/a/b", working);
    assert_true(file_absolute(path, sizeof path, "a/b", &error));
    assert_string_equal(path, expected);
    assert_false(file_absolute(path, 4, "a/b", &error));
    assert_false(file_absolute(path, 4, "/a/b", &error));
}

static void joining_puts_one_slash_and_never_cuts(void **state)
{
    (void)state;
    char path[6];
    Error error = {0};
    assert_true(file_join(path, sizeof path, "ab", "cd", &error));
    assert_string_equal(path, "ab/cd");
    assert_true(file_join(path, sizeof path, "ab/", "cd", &error));
    assert_string_equal(path, "ab/cd");
    assert_true(file_join(path, sizeof path, "/", "cd", &error));
    assert_string_equal(path, "/cd");
    assert_true(file_join(path, sizeof path, "", "cd", &error));
    assert_string_equal(path, "cd");
    assert_false(file_join(path, sizeof path, "abc", "cd", &error));
    assert_string_equal(error.text, "path too long: abc/cd: at most 5 bytes were expected");
    assert_false(file_join(path, 0, "a", "b", &error));
}

static void discarding_keeps_the_old_file(void **state)
{
    (void)state;
    Error error = {0};
    write_text("a", "old");
    FileWriter writer;
    assert_true(file_writer_open(&writer, "a", &error));
    fputs("new", writer.stream);
    fflush(writer.stream);
    assert_int_equal(count_files(), 2);
    assert_text("a", "old");
    file_writer_discard(&writer);
    file_writer_discard(&writer);
    assert_int_equal(count_files(), 1);
    assert_text("a", "old");
    unlink("a");
}

/* Simulates a full disk by a limit on the file size. `freed` bytes become free after the last
 * write. */
static void write_too_much(size_t bytes, size_t buffer, size_t freed)
{
    Error error = {0};
    FileWriter writer;
    assert_true(file_writer_open(&writer, "a", &error));
    assert_int_equal(setvbuf(writer.stream, NULL, _IOFBF, buffer), 0);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (size_t i = 0; i < bytes; i++)
        putc('x', writer.stream);
    small.rlim_cur += freed;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool done = file_writer_commit(&writer, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(done);
    assert_string_equal(error.text, "cannot write: a: File too large");
    assert_null(writer.stream);
}

static void a_failed_write_keeps_the_old_file(void **state)
{
    (void)state;
    write_text("a", "old");
    write_too_much(1001, 65536, 0); /* fails when commit flushes */
    write_too_much(100000, 100, 0); /* fails earlier; commit has nothing left to flush */
    write_too_much(100000, 100, 10);
    assert_int_equal(count_files(), 1);
    assert_text("a", "old");
    unlink("a");
}

static void assert_unwritable(const char *path, const char *text)
{
    Error error = {0};
    FileWriter writer;
    assert_false(file_writer_open(&writer, path, &error));
    assert_string_equal(error.text, text);
    file_writer_discard(&writer);
}

static void writing_refuses_impossible_places(void **state)
{
    (void)state;
    write_text("a", "old");
    assert_unwritable("a/b", "cannot write: a/b: Not a directory");
    assert_unwritable("none/b", "cannot write: none/b: No such file or directory");
    assert_unwritable(".", "cannot write: .: it exists and is not a regular file");
    assert_unwritable("/dev/null", "cannot write: /dev/null: it exists and is not a regular file");
    assert_text("a", "old");
    unlink("a");
    if (geteuid() != 0) { /* root may write everywhere */
        assert_int_equal(mkdir("locked", 0500), 0);
        assert_unwritable("locked/a", "cannot write: locked/a: Permission denied");
        rmdir("locked");
    }
    assert_int_equal(count_files(), 0);
}

static void writing_refuses_a_path_that_is_too_long(void **state)
{
    (void)state;
    char path[5000];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    Error error = {0};
    FileWriter writer;
    assert_false(file_writer_open(&writer, path, &error));
    assert_int_equal(strncmp(error.text, "path too long: xxx", 18), 0);
    assert_false(file_make_folder(path, &error));
    assert_int_equal(strncmp(error.text, "path too long: xxx", 18), 0);
    /* One byte too long. */
    path[sizeof writer.path] = '\0';
    error = (Error){0};
    assert_false(file_make_folder(path, &error));
    assert_int_equal(strncmp(error.text, "path too long: xxx", 18), 0);
    path[sizeof writer.path - 1] = '\0';
    error = (Error){0};
    assert_false(file_make_folder(path, &error));
    assert_int_equal(strncmp(error.text, "cannot make folder: xxx", 23), 0);
}

static void a_rename_that_fails_leaves_nothing(void **state)
{
    (void)state;
    Error error = {0};
    FileWriter writer;
    assert_true(file_writer_open(&writer, "a", &error));
    assert_int_equal(mkdir("a", 0700), 0);
    assert_false(file_writer_commit(&writer, &error));
    assert_string_equal(error.text, "cannot write: a: Is a directory");
    assert_int_equal(rmdir("a"), 0);
    assert_int_equal(count_files(), 0);
}

/* A killed process may leave its temporary file, here even as a link to a valuable file. */
static void a_stale_temporary_is_replaced(void **state)
{
    (void)state;
    char stale[64];
    snprintf(stale, sizeof stale, "a.%ld.part", (long)getpid());
    write_text("valuable", "value");
    assert_int_equal(symlink("valuable", stale), 0);
    write_text("a", "new");
    assert_text("a", "new");
    assert_text("valuable", "value");
    assert_int_equal(count_files(), 2);
    unlink("a");
    unlink("valuable");
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    Error error = {0};
    assert_true(file_make_folder("x//y/z/", &error));
    assert_true(file_make_folder("x/y", &error));
    assert_true(file_make_folder("/", &error));
    assert_true(file_make_folder("./x/../x/y/z", &error));
    struct stat status;
    assert_int_equal(stat("x/y/z", &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    write_text("x/a", "");
    assert_false(file_make_folder("x/a", &error));
    assert_string_equal(error.text, "cannot make folder: x/a: x/a is a file");
    assert_false(file_make_folder("x/a/b", &error));
    assert_string_equal(error.text, "cannot make folder: x/a/b: x/a is a file");
    assert_int_equal(symlink("nowhere", "x/l"), 0);
    assert_false(file_make_folder("x/l/b", &error));
    assert_string_equal(error.text, "cannot make folder: x/l/b: x/l is a dangling symbolic link");
    unlink("x/l");
    assert_false(file_make_folder("", &error));
    assert_false(file_make_folder("/dev/null/b", &error));
    unlink("x/a");
    rmdir("x/y/z");
    rmdir("x/y");
    rmdir("x");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_written_file_is_read_back),
        TEST(a_full_path_works_as_well),
        TEST(reading_refuses_other_than_regular_files),
        TEST(reading_respects_the_limit),
        TEST(reading_without_memory_is_an_error),
        TEST(a_file_that_changes_its_size_is_an_error),
        TEST(reading_goes_on_until_all_is_there),
        TEST(files_of_several_names),
        TEST(absolute_paths),
        TEST(joining_puts_one_slash_and_never_cuts),
        TEST(discarding_keeps_the_old_file),
        TEST(a_failed_write_keeps_the_old_file),
        TEST(writing_refuses_impossible_places),
        TEST(writing_refuses_a_path_that_is_too_long),
        TEST(a_rename_that_fails_leaves_nothing),
        TEST(a_stale_temporary_is_replaced),
        TEST(folders_are_made_with_their_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
