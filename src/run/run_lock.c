#include "run/run_lock.h"

#include "base/file.h"
#include "base/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLDER = 128 }; /* bytes of the file's text */

#define LOCK_NAME "lock"
#define NOBODY_ELSE "make sure that no other process trains there"

typedef enum LockResult { LOCKED, LOCKED_BY_OTHERS, UNSUPPORTED, FAILED } LockResult;

/* ---- the file's text ---- */

static bool write_holder(const RunLock *lock, Error *error)
{
    char host[HOST_NAME], text[HOLDER];
    host_name(host);
    int length = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (length < 0 || ftruncate(lock->descriptor, 0) != 0 ||
        pwrite(lock->descriptor, text, (size_t)length, 0) != length)
        return fail(error, "cannot write: %s: %s", lock->path, strerror(errno));
    return true;
}

/* Reads the first line. A process that has just created the file may not have written it yet. */
static void read_holder(int descriptor, char text[HOLDER])
{
    ssize_t length = pread(descriptor, text, HOLDER - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text[0])
        strcpy(text, "another process");
}

/* ---- the lock ---- */

static LockResult lock_file(int descriptor, int operation)
{
    int failed;
    do
        failed = flock(descriptor, operation);
    while (failed && errno == EINTR);
    if (!failed)
        return LOCKED;
    if (errno == EWOULDBLOCK)
        return LOCKED_BY_OTHERS;
    bool unsupported = errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
    return unsupported ? UNSUPPORTED : FAILED;
}

/* Returns whether the path still names the open file. The previous holder may have removed it. */
static bool is_in_place(const RunLock *lock)
{
    struct stat opened, named;
    return fstat(lock->descriptor, &opened) == 0 && stat(lock->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static bool give_up(RunLock *lock)
{
    close(lock->descriptor);
    return false;
}

/* Does not follow a symbolic link, which could name a file that must not be overwritten. */
static int open_file(const char *path, int flags)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
}

/* ---- a new run ---- */

/* Takes a shared lock briefly to see whether another process holds the lock. */
bool run_lock_refuse(const char *folder, Error *error)
{
    char path[SETTINGS_PATH], holder[HOLDER] = "";
    if (!file_join(path, SETTINGS_PATH, folder, LOCK_NAME, error))
        return false;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0 && lock_file(descriptor, LOCK_SH | LOCK_NB) == LOCKED_BY_OTHERS)
        read_holder(descriptor, holder);
    if (descriptor >= 0)
        close(descriptor);
    if (holder[0])
        return fail(error, "folder in use: %s: %s is training there: use another --out", folder,
                    holder);
    return fail(error, "folder has a run: %s: continue it with --resume or use another --out",
                folder);
}

/* Waits, because run_lock_refuse of another process may hold a shared lock for a moment. */
static bool lock_new_file(const RunLock *lock, Error *error)
{
    LockResult result = lock_file(lock->descriptor, LOCK_EX);
    if (result == UNSUPPORTED)
        warn("cannot lock: %s: %s: %s", lock->path, strerror(errno), NOBODY_ELSE);
    else if (result != LOCKED)
        return fail(error, "cannot lock: %s: %s", lock->path, strerror(errno));
    return is_in_place(lock) ||
           fail(error, "cannot lock: %s: another process removed it", lock->path);
}

/* Sets *exists if another process has created the file. */
static bool make_file(RunLock *lock, bool *exists, Error *error)
{
    lock->descriptor = open_file(lock->path, O_EXCL);
    *exists = lock->descriptor < 0 && errno == EEXIST;
    if (lock->descriptor < 0)
        return fail(error, "cannot write: %s: %s", lock->path, strerror(errno));
    lock->held = true;
    bool good = write_holder(lock, error) && lock_new_file(lock, error);
    if (!good)
        run_lock_release(lock);
    return good;
}

bool run_lock_create(RunLock *lock, const char *folder, Error *error)
{
    bool exists;
    if (!file_join(lock->path, SETTINGS_PATH, folder, LOCK_NAME, error))
        return false;
    return make_file(lock, &exists, error) || (exists && run_lock_refuse(folder, error));
}

/* ---- during training ---- */

static bool fail_taken_over(const RunLock *lock, const char *folder, Error *error)
{
    char holder[HOLDER] = "another process";
    int descriptor = open(lock->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0) {
        read_holder(descriptor, holder);
        close(descriptor);
    }
    return fail(error, "folder taken over by another run: %s: %s: this run no longer writes there",
                folder, holder);
}

bool run_lock_keep(RunLock *lock, const char *folder, Error *error)
{
    if (is_in_place(lock))
        return true;
    RunLock recreated = *lock;
    bool exists;
    if (!make_file(&recreated, &exists, error))
        return exists && fail_taken_over(lock, folder, error);
    close(lock->descriptor);
    *lock = recreated;
    return true;
}

/* ---- a resumed run ---- */

/* Warns, because it is unknown whether the process that the file names is still training. */
static void warn_unsupported(const RunLock *lock)
{
    const char *reason = strerror(errno);
    struct stat status;
    char holder[HOLDER];
    bool named = fstat(lock->descriptor, &status) == 0 && status.st_size > 0;
    read_holder(lock->descriptor, holder);
    warn("cannot lock: %s: %s: %s%s", lock->path, reason, named ? holder : NOBODY_ELSE,
         named ? " may still be training there" : "");
}

/* A file left by another user's run may be read-only: it can still be locked and then recreated. */
static bool open_to_take(RunLock *lock, bool *foreign, Error *error)
{
    lock->descriptor = open_file(lock->path, 0);
    int reason = errno;
    *foreign = lock->descriptor < 0 && reason == EACCES;
    if (*foreign)
        lock->descriptor = open(lock->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return lock->descriptor >= 0 ||
           fail(error, "cannot lock: %s: %s", lock->path, strerror(reason));
}

static bool lock_to_take(const RunLock *lock, const char *folder, Error *error)
{
    char holder[HOLDER];
    switch (lock_file(lock->descriptor, LOCK_EX | LOCK_NB)) {
    case LOCKED_BY_OTHERS:
        read_holder(lock->descriptor, holder);
        return fail(error, "folder in use: %s: %s is training there: wait until it ends", folder,
                    holder);
    case FAILED: return fail(error, "cannot lock: %s: %s", lock->path, strerror(errno));
    case UNSUPPORTED: warn_unsupported(lock); break;
    case LOCKED: break;
    }
    return true;
}

/* Opens and locks the file. Sets *again if the file was removed meanwhile, by another process or
 * here. */
static bool try_to_take(RunLock *lock, const char *folder, bool *again, Error *error)
{
    bool foreign;
    *again = false;
    if (!open_to_take(lock, &foreign, error))
        return false;
    if (!lock_to_take(lock, folder, error))
        return give_up(lock);
    *again = !is_in_place(lock);
    if (*again || !foreign)
        return !*again || give_up(lock);
    *again =
        unlink(lock->path) == 0 || fail(error, "cannot lock: %s: %s", lock->path, strerror(errno));
    return give_up(lock);
}

bool run_lock_take(RunLock *lock, const char *folder, Error *error)
{
    if (!file_join(lock->path, SETTINGS_PATH, folder, LOCK_NAME, error))
        return false;
    bool again;
    do
        lock->held = try_to_take(lock, folder, &again, error);
    while (again);
    bool good = lock->held && write_holder(lock, error);
    if (!good)
        run_lock_release(lock);
    return good;
}

void run_lock_release(RunLock *lock)
{
    if (!lock->held)
        return;
    /* Removed before it is unlocked, so that a waiting process finds it removed. */
    if (is_in_place(lock))
        unlink(lock->path);
    close(lock->descriptor);
    lock->held = false;
}
