#include "run/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* Not volatile sig_atomic_t, which is for handlers of the thread that reads it: a signal to a
 * process may interrupt any of its threads. */
static atomic_int received;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a lock could be held when the handler wants it");

static void remember(int number)
{
    received = number;
    /* The next one, of either kind, is not caught any more. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

bool interrupt_catch(Error *error)
{
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        return fail(error, "cannot catch signals: SIGINT and SIGTERM: %s", strerror(errno));
    return true;
}

int interrupt_signal(void)
{
    return received;
}
