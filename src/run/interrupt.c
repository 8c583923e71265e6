#include "run/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Atomic, because a signal to the process may interrupt any of its threads; volatile sig_atomic_t
 * only suffices within one thread. */
static atomic_int received;
static atomic_llong received_at; /* nanoseconds; 0: no signal yet */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "signal handlers need lock-free atomics");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "signal handlers need lock-free atomics");

static const long long second = 1000000000;

/* ---- handlers ---- */

/* Does not return. The signal is blocked while its handler runs, so it is delivered only when it is
 * unblocked. For process 1 the default action may do nothing; then exits. */
static void end_at_once(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + number);
}

static long long nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * second + now.tv_nsec;
}

static void record(int number)
{
    int saved_errno = errno;
    long long now = nanoseconds_now(), first = 0;
    if (atomic_compare_exchange_strong(&received_at, &first, now))
        received = number;
    else if ((number == SIGINT || number == SIGTERM) && now - first >= second)
        end_at_once(number);
    errno = saved_errno;
}

/* ---- installing them ---- */

static bool install(int number, void (*handler)(int), Error *error)
{
    struct sigaction old, action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &old) != 0 ||
        (old.sa_handler != SIG_IGN && sigaction(number, &action, NULL) != 0))
        return fail(error, "cannot catch a signal: %s: %s", strsignal(number), strerror(errno));
    return true;
}

static bool install_all(void (*handler)(int), Error *error)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    bool good = true;
    for (size_t i = 0; good && i < sizeof numbers / sizeof *numbers; i++)
        good = install(numbers[i], handler, error);
    return good;
}

bool interrupt_end_at_once(Error *error)
{
    return install_all(end_at_once, error) && install(SIGQUIT, end_at_once, error);
}

bool interrupt_catch(Error *error)
{
    return install_all(record, error);
}

int interrupt_signal(void)
{
    return received;
}
