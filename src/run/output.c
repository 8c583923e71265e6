#include "run/output.h"

#include "nnmf/error.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static bool outlives_reader;

void output_outlive_reader(void)
{
    outlives_reader = true;
    signal(SIGPIPE, SIG_IGN);
}

/* Of a pipe, a socket or a terminal; a full disk is not meant. */
static bool reader_has_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP));
}

/* The stream keeps what it could not write, which goes the same way. */
static bool go_on_without(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    bool replaced = nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0;
    if (nowhere >= 0)
        close(nowhere);
    if (replaced) {
        clearerr(stdout);
        fflush(stdout);
    }
    return replaced;
}

void output_flush(void)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written && outlives_reader && reader_has_gone() && go_on_without())
        warn("standard output: its reader has gone: going on without it");
}
