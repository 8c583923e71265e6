#include "base/file.h"

#include "nnmf/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads up to `count` bytes, fewer only at the end of the file; -1 with errno on failure. */
static ssize_t read_fully(int descriptor, uint8_t *bytes, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t got = read(descriptor, bytes + done, count - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static bool check_readable(int descriptor, const char *path, size_t limit, size_t *size,
                           Error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fail(error, "cannot read: %s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return fail(error, "cannot read: %s: it is a folder, a file was expected", path);
    if (!S_ISREG(status.st_mode))
        return fail(error,
                    "cannot read: %s: it is a pipe, a device or a socket, a regular file was "
                    "expected",
                    path);
    if ((uintmax_t)status.st_size > limit)
        return fail(error, "cannot read: %s: it has %jd bytes, at most %zu were expected", path,
                    (intmax_t)status.st_size, limit);
    *size = (size_t)status.st_size;
    return true;
}

static bool read_descriptor(int descriptor, const char *path, size_t limit, uint8_t **bytes,
                            size_t *count, Error *error)
{
    size_t size = 0;
    if (!check_readable(descriptor, path, limit, &size, error))
        return false;
    uint8_t *content = memory_allocate(size, 1, path, error);
    if (!content)
        return false;
    ssize_t got = read_fully(descriptor, content, size);
    uint8_t extra;
    ssize_t more = got < 0 ? -1 : read_fully(descriptor, &extra, 1);
    if (more < 0)
        fail(error, "cannot read: %s: %s", path, strerror(errno));
    else if ((size_t)got != size || more != 0)
        fail(error, "cannot read: %s: its size changed while it was read, %zu bytes were expected",
             path, size);
    else {
        *bytes = content;
        *count = size;
        return true;
    }
    memory_free(content);
    return false;
}

bool file_read(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error)
{
    *bytes = NULL;
    *count = 0;
    /* O_NONBLOCK: opening a pipe without a writer would block before it could be refused. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return fail(error, "cannot read: %s: %s", path, strerror(errno));
    bool done = read_descriptor(descriptor, path, limit, bytes, count, error);
    close(descriptor);
    return done;
}

bool file_read_text(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    if (!file_read(path, limit, bytes, count, error))
        return false;
    if (*count >= sizeof bom && memcmp(*bytes, bom, sizeof bom) == 0) {
        *count -= sizeof bom;
        memmove(*bytes, *bytes + sizeof bom, *count);
    }
    return true;
}

bool file_join(char *path, size_t capacity, const char *folder, const char *name, Error *error)
{
    size_t length = strlen(folder);
    const char *separator = length == 0 || folder[length - 1] == '/' ? "" : "/";
    int written = snprintf(path, capacity, "%s%s%s", folder, separator, name);
    if (written < 0 || (size_t)written >= capacity)
        return fail(error, "path too long: %s%s%s: at most %zu bytes were expected", folder,
                    separator, name, capacity ? capacity - 1 : 0);
    return true;
}

bool file_absolute(char *path, size_t capacity, const char *relative, Error *error)
{
    char folder[sizeof((FileWriter *)0)->path] = "";
    if (relative[0] != '/' && !getcwd(folder, sizeof folder))
        return fail(error, "no working folder: %s: %s", relative, strerror(errno));
    return file_join(path, capacity, folder, relative, error);
}

static bool set_paths(FileWriter *writer, const char *path, Error *error)
{
    /* The process id keeps two runs that write the same name from mixing their bytes. */
    int length = snprintf(writer->path, sizeof writer->path, "%s", path);
    int longer =
        snprintf(writer->temporary, sizeof writer->temporary, "%s.%ld.part", path, (long)getpid());
    if (length < 0 || longer < 0 || (size_t)longer >= sizeof writer->temporary)
        return fail(error, "path too long: %s: at most %zu bytes were expected", path,
                    sizeof writer->temporary - sizeof ".2147483647.part");
    /* The rename would replace, for instance, /dev/null by a file. */
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return fail(error, "cannot write: %s: it exists and is not a regular file", path);
    return true;
}

static FILE *create(const char *path)
{
    /* A killed process with the same id may have left this file, even a link to another. */
    unlink(path);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return NULL;
    FILE *stream = fdopen(descriptor, "wb");
    if (!stream) {
        int reason = errno;
        close(descriptor);
        unlink(path);
        errno = reason;
    }
    return stream;
}

bool file_writer_open(FileWriter *writer, const char *path, Error *error)
{
    writer->stream = NULL;
    if (set_paths(writer, path, error)) {
        writer->stream = create(writer->temporary);
        if (writer->stream)
            return true;
        fail(error, "cannot write: %s: %s", path, strerror(errno));
    }
    writer->temporary[0] = '\0'; /* discarding a writer that is not open removes nothing */
    return false;
}

/* A stream remembers that an earlier write failed, but not why. Its file is discarded anyway, so
 * another write to it shows the reason: a full disk is still full. */
static const char *reason_of_earlier_failure(int descriptor)
{
    static const char probe[65536];
    for (int attempt = 0; attempt < 2; attempt++) /* the first may still fit */
        if (write(descriptor, probe, sizeof probe) < 0)
            return strerror(errno);
    return "an earlier write failed";
}

static bool flush_to_disk(FileWriter *writer, Error *error)
{
    /* Checked first: the stream drops its buffer on failure, then flushing it succeeds. */
    bool failed_before = ferror(writer->stream);
    int descriptor = fileno(writer->stream);
    if (failed_before)
        return fail(error, "cannot write: %s: %s", writer->path,
                    reason_of_earlier_failure(descriptor));
    if (fflush(writer->stream) != 0 || fsync(descriptor) != 0)
        return fail(error, "cannot write: %s: %s", writer->path, strerror(errno));
    int closed = fclose(writer->stream);
    writer->stream = NULL;
    if (closed != 0)
        return fail(error, "cannot write: %s: %s", writer->path, strerror(errno));
    return true;
}

static int open_folder_of(const char *path)
{
    char folder[sizeof((FileWriter *)0)->path];
    memcpy(folder, path, strlen(path) + 1);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    return open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool file_same(const char *one, const char *other)
{
    struct stat a, b;
    if (stat(one, &a) == 0 && stat(other, &b) == 0)
        return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    const char *names[] = {one, other};
    for (int i = 0; i < 2; i++) {
        const char *slash = strrchr(names[i], '/');
        names[i] = slash ? slash + 1 : names[i];
    }
    int folders[] = {open_folder_of(one), open_folder_of(other)};
    bool same = strcmp(names[0], names[1]) == 0 && fstat(folders[0], &a) == 0 &&
                fstat(folders[1], &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    for (int i = 0; i < 2; i++)
        if (folders[i] >= 0)
            close(folders[i]);
    return same;
}

/* The folder is opened before the rename, so that only its fsync can fail with the new file
 * already in place. */
static bool rename_durably(FileWriter *writer, Error *error)
{
    int folder = open_folder_of(writer->path);
    if (folder < 0)
        return fail(error, "cannot write: %s: its folder cannot be opened: %s", writer->path,
                    strerror(errno));
    bool done = true;
    if (rename(writer->temporary, writer->path) != 0)
        done = fail(error, "cannot write: %s: %s", writer->path, strerror(errno));
    /* EINVAL: this file system cannot sync folders; the file itself is written. */
    else if (fsync(folder) != 0 && errno != EINVAL)
        done = fail(error, "cannot write: %s: its folder cannot be synced: %s", writer->path,
                    strerror(errno));
    close(folder);
    return done;
}

bool file_writer_commit(FileWriter *writer, Error *error)
{
    bool done = flush_to_disk(writer, error) && rename_durably(writer, error);
    if (!done)
        file_writer_discard(writer);
    writer->temporary[0] = '\0';
    return done;
}

void file_writer_discard(FileWriter *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    writer->stream = NULL;
    if (writer->temporary[0])
        unlink(writer->temporary);
    writer->temporary[0] = '\0';
}

static bool make_one_folder(const char *part, const char *path, Error *error)
{
    if (mkdir(part, 0777) == 0)
        return true;
    int reason = errno;
    struct stat status;
    if (stat(part, &status) != 0)
        return reason == EEXIST
                   ? fail(error, "cannot make folder: %s: %s is a dangling symbolic link", path,
                          part)
                   : fail(error, "cannot make folder: %s: %s: %s", path, part, strerror(reason));
    if (!S_ISDIR(status.st_mode))
        return fail(error, "cannot make folder: %s: %s is a file", path, part);
    return true;
}

bool file_make_folder(const char *path, Error *error)
{
    char part[sizeof((FileWriter *)0)->path];
    size_t length = strlen(path);
    if (length == 0)
        return fail(error, "cannot make folder: the path is empty: a folder was expected");
    if (length >= sizeof part)
        return fail(error, "path too long: %s: at most %zu bytes were expected", path,
                    sizeof part - 1);
    for (size_t i = 1; i <= length; i++) {
        bool ends_part = (path[i] == '/' || path[i] == '\0') && path[i - 1] != '/';
        if (!ends_part)
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (!make_one_folder(part, path, error))
            return false;
    }
    return true;
}
