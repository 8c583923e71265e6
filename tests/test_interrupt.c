/* A signal to the process may interrupt any of its threads. */
#include "run/interrupt.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { TICK = 1000, PATIENCE = 20000 }; /* microseconds, ticks */

static void *run_until(void *over)
{
    while (!atomic_load((atomic_bool *)over))
        usleep(TICK);
    return NULL;
}

/* The one asks while the other is interrupted: tests/threads tells whether that is a race. */
static void signal_to_another_thread(void **state)
{
    (void)state;
    Error error = {0};
    atomic_bool over = false;
    pthread_t other;
    assert_true(interrupt_catch(&error));
    assert_int_equal(pthread_create(&other, NULL, run_until, &over), 0);
    assert_int_equal(interrupt_signal(), 0);
    assert_int_equal(pthread_kill(other, SIGTERM), 0);
    for (int i = 0; i < PATIENCE && interrupt_signal() == 0; i++)
        usleep(TICK);
    assert_int_equal(interrupt_signal(), SIGTERM);
    atomic_store(&over, true);
    pthread_join(other, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(signal_to_another_thread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
