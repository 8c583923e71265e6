#include "base/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool streams_open_closed(Error *error)
{
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0)
            continue;
        /* open() returns the lowest free descriptor, which is this one. It has the wrong access
         * mode, so that using the stream is still an error. */
        if (open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return fail(error, "cannot open: /dev/null: %s", strerror(errno));
    }
    return true;
}
