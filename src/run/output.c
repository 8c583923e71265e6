#include "run/output.h"

#include "nnmf/error.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static bool survives_closing;

void output_outlive_reader(void)
{
    survives_closing = true;
    signal(SIGPIPE, SIG_IGN);
}

/* Returns whether the other end of a pipe, socket or terminal is closed; false for a full disk. */
static bool reader_has_closed(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP));
}

/* Redirects standard output to /dev/null, including what the stream still buffers. */
static bool discard_output(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    bool replaced = null >= 0 && dup2(null, STDOUT_FILENO) >= 0;
    if (null >= 0)
        close(null);
    if (replaced) {
        clearerr(stdout);
        fflush(stdout);
    }
    return replaced;
}

void output_flush(void)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written && survives_closing && reader_has_closed() && discard_output())
        warn("standard output: closed by its reader: continuing without it");
}
