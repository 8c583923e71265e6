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

enum { HOLDER = 128 }; /* bytes of a file's text */

#define LOCK_NAME "lock"
#define NOBODY_ELSE "make sure that no other process trains there"

typedef enum Attempt { GOT_IT, OTHERS_HAVE_IT, NO_LOCKS_HERE, FAILED } Attempt;

/* ---- what the file says ---- */

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

/* The first line. A process that has just made the file may not have written it yet. */
static void read_holder(int descriptor, char text[HOLDER])
{
    ssize_t length = pread(descriptor, text, HOLDER - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text[0])
        strcpy(text, "another process");
}

/* ---- the lock ---- */

static Attempt lock_file(int descriptor, int operation)
{
    int failed;
    do
        failed = flock(descriptor, operation);
    while (failed && errno == EINTR);
    if (!failed)
        return GOT_IT;
    if (errno == EWOULDBLOCK)
        return OTHERS_HAVE_IT;
    bool none = errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
    return none ? NO_LOCKS_HERE : FAILED;
}

/* Is the file still there under its name? Whoever held the lock before has removed it. */
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

/* A link could lead to a file that is not ours to write to. */
static int open_file(const char *path, int flags)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
}

/* ---- a new run ---- */

/* Takes a shared lock, for a moment, to see whether somebody holds it. */
bool run_lock_refuse(const char *folder, Error *error)
{
    char path[SETTINGS_PATH], holder[HOLDER] = "";
    if (!file_join(path, SETTINGS_PATH, folder, LOCK_NAME, error))
        return false;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0 && lock_file(descriptor, LOCK_SH | LOCK_NB) == OTHERS_HAVE_IT)
        read_holder(descriptor, holder);
    if (descriptor >= 0)
        close(descriptor);
    if (holder[0])
        return fail(error, "a run is training there: %s: %s: give another --out", folder, holder);
    return fail(error, "a run is there already: %s: go on with --resume, or give another --out",
                folder);
}

/* Waits for those that look whether it is locked. */
static bool lock_new_file(const RunLock *lock, Error *error)
{
    Attempt attempt = lock_file(lock->descriptor, LOCK_EX);
    if (attempt == NO_LOCKS_HERE)
        warn("cannot lock: %s: %s: %s", lock->path, strerror(errno), NOBODY_ELSE);
    else if (attempt != GOT_IT)
        return fail(error, "cannot lock: %s: %s", lock->path, strerror(errno));
    return is_in_place(lock) ||
           fail(error, "cannot lock: %s: another process removed it", lock->path);
}

/* *there: another process has made it. */
static bool make_file(RunLock *lock, bool *there, Error *error)
{
    lock->descriptor = open_file(lock->path, O_EXCL);
    *there = lock->descriptor < 0 && errno == EEXIST;
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
    bool there;
    if (!file_join(lock->path, SETTINGS_PATH, folder, LOCK_NAME, error))
        return false;
    return make_file(lock, &there, error) || (there && run_lock_refuse(folder, error));
}

/* ---- a run that trains ---- */

static bool refuse_to_share(const RunLock *lock, const char *folder, Error *error)
{
    char holder[HOLDER] = "another process";
    int descriptor = open(lock->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0) {
        read_holder(descriptor, holder);
        close(descriptor);
    }
    return fail(error, "folder of another run now: %s: %s: this run writes nothing more there",
                folder, holder);
}

bool run_lock_keep(RunLock *lock, const char *folder, Error *error)
{
    if (is_in_place(lock))
        return true;
    RunLock again = *lock;
    bool there;
    if (!make_file(&again, &there, error))
        return there && refuse_to_share(lock, folder, error);
    close(lock->descriptor);
    *lock = again;
    return true;
}

/* ---- a run that goes on ---- */

/* Whether the process that the file names still trains is not known. */
static void warn_of_holder(const RunLock *lock)
{
    const char *reason = strerror(errno);
    struct stat status;
    char holder[HOLDER];
    bool named = fstat(lock->descriptor, &status) == 0 && status.st_size > 0;
    read_holder(lock->descriptor, holder);
    warn("cannot lock: %s: %s: %s%s", lock->path, reason, named ? holder : NOBODY_ELSE,
         named ? " may still be training there" : "");
}

/* What another user's run left may be read only: it can be locked, and then made anew. */
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
    case OTHERS_HAVE_IT:
        read_holder(lock->descriptor, holder);
        return fail(error, "a run is training there: %s: %s: wait for its end", folder, holder);
    case FAILED: return fail(error, "cannot lock: %s: %s", lock->path, strerror(errno));
    case NO_LOCKS_HERE: warn_of_holder(lock); break;
    case GOT_IT: break;
    }
    return true;
}

/* Opens and locks the file; *again: it was removed, by another process in the meantime or here. */
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
    /* Removed before it is unlocked: a process that waits for it finds that it is gone. */
    if (is_in_place(lock))
        unlink(lock->path);
    close(lock->descriptor);
    lock->held = false;
}
