/* The lock of a run's folder, also on a file system without locks, by a replacement of flock(). */
#include "run/run_lock.h"

#include "base/host.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int no_locks; /* errno of every flock(); 0: the real flock() */

int __real_flock(int descriptor, int operation);
int __wrap_flock(int descriptor, int operation);

int __wrap_flock(int descriptor, int operation)
{
    errno = no_locks;
    return no_locks ? -1 : __real_flock(descriptor, operation);
}

typedef struct Folder {
    char path[32], lock[48];
} Folder;

static int make_folder(void **state)
{
    static Folder folder;
    strcpy(folder.path, "/tmp/nnmf-lock-XXXXXX");
    no_locks = 0;
    if (!mkdtemp(folder.path))
        return -1;
    snprintf(folder.lock, sizeof folder.lock, "%s/lock", folder.path);
    *state = &folder;
    return 0;
}

static int remove_folder(void **state)
{
    const Folder *folder = *state;
    unlink(folder->lock);
    return rmdir(folder->path);
}

static void read_file(const char *path, char *text, size_t capacity)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, capacity - 1, file)] = '\0';
    fclose(file);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* "process 123 on host" */
static void this_process(char text[128])
{
    char host[HOST_NAME];
    host_name(host);
    snprintf(text, 128, "process %ld on %s", (long)getpid(), host);
}

/* Asserts that the file names this process. */
static void assert_names_this_process(const char *path)
{
    char text[128], expected[128];
    read_file(path, text, sizeof text);
    this_process(expected);
    strcat(expected, "\n");
    assert_string_equal(text, expected);
}

static void an_error_names_the_holder(void **state)
{
    const Folder *folder = *state;
    RunLock one = {0}, other = {0};
    Error error = {0};
    char expected[128];
    assert_true(run_lock_create(&one, folder->path, &error));
    assert_names_this_process(folder->lock);

    this_process(expected);
    assert_false(run_lock_take(&other, folder->path, &error));
    assert_non_null(strstr(error.text, expected));
    assert_false(run_lock_create(&other, folder->path, &error));
    assert_non_null(strstr(error.text, expected));
    run_lock_release(&other);
    assert_int_equal(access(folder->lock, F_OK), 0);

    run_lock_release(&one);
    assert_int_not_equal(access(folder->lock, F_OK), 0);
    run_lock_release(&one);
}

static void a_killed_process_leaves_it_free(void **state)
{
    const Folder *folder = *state;
    RunLock lock = {0};
    Error error = {0};
    write_file(folder->lock, "process 1 on elsewhere, with a longer name than this one has\n");
    assert_false(run_lock_create(&lock, folder->path, &error));
    assert_null(strstr(error.text, "elsewhere"));
    assert_non_null(strstr(error.text, "--resume"));
    assert_true(run_lock_take(&lock, folder->path, &error));
    assert_names_this_process(folder->lock);
    run_lock_release(&lock);
}

static void a_removed_file_is_made_again(void **state)
{
    const Folder *folder = *state;
    RunLock one = {0}, other = {0};
    Error error = {0};
    char expected[128];
    this_process(expected);
    assert_true(run_lock_create(&one, folder->path, &error));
    assert_true(run_lock_keep(&one, folder->path, &error));
    assert_int_equal(unlink(folder->lock), 0);
    assert_true(run_lock_keep(&one, folder->path, &error));
    assert_false(run_lock_take(&other, folder->path, &error));
    assert_non_null(strstr(error.text, expected));
    run_lock_release(&one);
    assert_int_not_equal(access(folder->lock, F_OK), 0);
}

static void a_file_of_another_process_is_not_taken(void **state)
{
    const Folder *folder = *state;
    RunLock one = {0}, other = {0};
    Error error = {0};
    assert_true(run_lock_create(&one, folder->path, &error));
    assert_int_equal(unlink(folder->lock), 0);
    assert_true(run_lock_create(&other, folder->path, &error));
    assert_false(run_lock_keep(&one, folder->path, &error));
    assert_non_null(strstr(error.text, folder->path));
    run_lock_release(&one);
    assert_true(run_lock_keep(&other, folder->path, &error));
    run_lock_release(&other);
    assert_int_not_equal(access(folder->lock, F_OK), 0);
}

/* Another user's file in a group's folder stays while it is locked and is then replaced. */
static void a_read_only_file_can_be_taken(void **state)
{
    const Folder *folder = *state;
    RunLock one = {0}, other = {0};
    Error error = {0};
    bool root = geteuid() == 0;
    if (root && (seteuid(65534) != 0 || seteuid(0) != 0))
        skip(); /* cannot change to another user */
    char text[128], expected[128];
    this_process(expected);
    assert_true(run_lock_create(&one, folder->path, &error));
    assert_true(chmod(folder->lock, 0444) == 0 && chmod(folder->path, 0777) == 0);
    assert_true(!root || seteuid(65534) == 0);

    bool refused = !run_lock_take(&other, folder->path, &error);
    bool there = access(folder->lock, F_OK) == 0;
    close(one.descriptor); /* as if killed */
    bool taken = run_lock_take(&other, folder->path, &(Error){0});
    read_file(folder->lock, text, sizeof text);
    run_lock_release(&other);
    bool removed = access(folder->lock, F_OK) != 0;

    assert_true(!root || seteuid(0) == 0);
    assert_true(refused && there && taken && removed);
    assert_non_null(strstr(error.text, expected));
    strcat(expected, "\n");
    assert_string_equal(text, expected);
}

/* Another process's file may have its name by then. */
static void only_its_own_file_is_removed(void **state)
{
    const Folder *folder = *state;
    RunLock one = {0}, other = {0};
    Error error = {0};
    assert_true(run_lock_create(&one, folder->path, &error));
    assert_int_equal(unlink(folder->lock), 0);
    assert_true(run_lock_create(&other, folder->path, &error));
    run_lock_release(&one);
    assert_int_equal(access(folder->lock, F_OK), 0);
    run_lock_release(&other);
}

static void a_link_is_not_followed(void **state)
{
    const Folder *folder = *state;
    RunLock lock = {0};
    Error error = {0};
    char target[64], text[128];
    snprintf(target, sizeof target, "%s.target", folder->path);
    write_file(target, "content");
    assert_int_equal(symlink(target, folder->lock), 0);
    assert_false(run_lock_take(&lock, folder->path, &error));
    assert_non_null(strstr(error.text, folder->lock));
    read_file(target, text, sizeof text);
    assert_string_equal(text, "content");
    assert_int_equal(unlink(target), 0);
}

/* Captures what a successful `call` writes to standard error. */
static void with_errors(bool (*call)(RunLock *, const char *, Error *), const Folder *folder,
                        char text[512])
{
    RunLock lock = {0};
    Error error = {0};
    FILE *file = tmpfile();
    assert_non_null(file);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    bool good = call(&lock, folder->path, &error);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    rewind(file);
    text[fread(text, 1, 511, file)] = '\0';
    fclose(file);
    assert_true(good);
    run_lock_release(&lock);
    assert_int_not_equal(access(folder->lock, F_OK), 0);
}

static void without_locks_it_warns(void **state)
{
    const Folder *folder = *state;
    static const int reasons[] = {ENOLCK, EOPNOTSUPP, ENOSYS, EINVAL};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        char text[512];
        no_locks = reasons[i];
        with_errors(run_lock_create, folder, text);
        assert_non_null(strstr(text, strerror(reasons[i])));
        with_errors(run_lock_take, folder, text);
        assert_non_null(strstr(text, strerror(reasons[i])));
        assert_null(strstr(text, "may still be training"));
        write_file(folder->lock, "process 7 on elsewhere\n");
        with_errors(run_lock_take, folder, text);
        assert_non_null(strstr(text, "process 7 on elsewhere may still be training"));
    }
}

/* Without locks only the file decides. */
static void without_locks_one_new_run_succeeds(void **state)
{
    const Folder *folder = *state;
    RunLock lock = {0};
    Error error = {0};
    no_locks = ENOLCK;
    write_file(folder->lock, "process 7 on elsewhere\n");
    assert_false(run_lock_create(&lock, folder->path, &error));
    assert_non_null(strstr(error.text, "folder has a run"));
}

static void any_other_failure_is_an_error(void **state)
{
    const Folder *folder = *state;
    RunLock lock = {0};
    Error error = {0};
    no_locks = EIO;
    assert_false(run_lock_create(&lock, folder->path, &error));
    assert_non_null(strstr(error.text, strerror(EIO)));
    assert_int_not_equal(access(folder->lock, F_OK), 0);
    assert_false(run_lock_take(&lock, folder->path, &error));
    assert_non_null(strstr(error.text, strerror(EIO)));
}

/* Exactly one of several concurrent processes claims a folder, in every round. */
static void one_of_several_processes_claims_it(void **state)
{
    enum { PROCESSES = 4, ROUNDS = 50 };
    const Folder *folder = *state;
    for (int round = 0; round < ROUNDS; round++) {
        int start[2], end[2], winners = 0;
        pid_t children[PROCESSES];
        char byte;
        assert_true(pipe(start) == 0 && pipe(end) == 0);
        for (int i = 0; i < PROCESSES; i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] > 0)
                continue;
            RunLock lock = {0};
            Error error = {0};
            close(start[1]);
            close(end[1]);
            ssize_t got = read(start[0], &byte, 1); /* all start when the other end is closed */
            bool won = got == 0 && run_lock_create(&lock, folder->path, &error);
            if (won)
                got = read(end[0], &byte, 1); /* holds it until all have tried */
            _exit(won ? 0 : 1);
        }
        close(start[0]);
        close(end[0]);
        close(start[1]);
        int status, ended = 0;
        for (; ended < PROCESSES - 1; ended++) {
            assert_true(wait(&status) > 0);
            winners += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }
        assert_int_equal(winners, 0); /* the winner still runs */
        close(end[1]);
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(unlink(folder->lock), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_names_the_holder),
        TEST(a_killed_process_leaves_it_free),
        TEST(a_removed_file_is_made_again),
        TEST(a_file_of_another_process_is_not_taken),
        TEST(a_read_only_file_can_be_taken),
        TEST(only_its_own_file_is_removed),
        TEST(a_link_is_not_followed),
        TEST(without_locks_it_warns),
        TEST(without_locks_one_new_run_succeeds),
        TEST(any_other_failure_is_an_error),
        TEST(one_of_several_processes_claims_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
