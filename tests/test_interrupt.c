/* Signals, each in its own process because their handlers stay installed; and a signal that
 * interrupts another thread. */
#include "run/interrupt.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TICK = 1000, PATIENCE = 20000 }; /* microseconds, ticks */
enum { LATER = 1050000 };               /* microseconds, more than a second */

/* ---- a process that signals itself ---- */

enum { ALIVE = 10, WRONG = 11 };

static void expect(bool right)
{
    if (!right)
        _exit(WRONG);
}

/* Calls `act` in a new process; returns its status from waitpid(). */
static int end_of(void (*act)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        act();
        _exit(ALIVE);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_alive(int status)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ALIVE);
}

static void assert_ended_by(int status, int number)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), number);
}

static void catch_them(void)
{
    Error error = {0};
    expect(interrupt_end_at_once(&error) && interrupt_catch(&error));
}

/* ---- an orderly end ---- */

static int current_signal;

static void one_signal(void)
{
    catch_them();
    expect(interrupt_signal() == 0);
    raise(current_signal);
    expect(interrupt_signal() == current_signal);
}

static void each_asks_for_an_orderly_end(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        current_signal = numbers[i];
        assert_alive(end_of(one_signal));
    }
}

static void several_at_once(void)
{
    catch_them();
    raise(SIGUSR1);
    raise(SIGTERM);
    raise(SIGTERM);
    raise(SIGINT);
    raise(SIGINT);
    expect(interrupt_signal() == SIGUSR1);
}

static void repeated_ones_are_the_same_interruption(void **state)
{
    (void)state;
    assert_alive(end_of(several_at_once));
}

static void others_later(void)
{
    catch_them();
    raise(SIGTERM);
    usleep(LATER);
    raise(SIGXCPU);
    raise(SIGHUP);
    raise(SIGUSR1);
    raise(SIGUSR2);
    expect(interrupt_signal() == SIGTERM);
}

static void signals_that_systems_repeat_never_end_at_once(void **state)
{
    (void)state;
    assert_alive(end_of(others_later));
}

static void another_later(void)
{
    catch_them();
    raise(SIGXCPU);
    usleep(LATER);
    raise(current_signal);
}

static void a_later_signal_of_the_user_ends_at_once(void **state)
{
    (void)state;
    current_signal = SIGINT;
    assert_ended_by(end_of(another_later), SIGINT);
    current_signal = SIGTERM;
    assert_ended_by(end_of(another_later), SIGTERM);
}

/* ---- an end at once ---- */

static void one_without_training(void)
{
    Error error = {0};
    expect(interrupt_end_at_once(&error));
    raise(current_signal);
}

static void without_training_each_ends_at_once(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        current_signal = numbers[i];
        assert_ended_by(end_of(one_without_training), numbers[i]);
    }
}

/* ---- ignored signals ---- */

static void ignored(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXCPU};
    size_t count = sizeof numbers / sizeof *numbers;
    for (size_t i = 0; i < count; i++)
        signal(numbers[i], SIG_IGN);
    Error error = {0};
    expect(interrupt_end_at_once(&error));
    for (size_t i = 0; i < count; i++)
        raise(numbers[i]);
    expect(interrupt_catch(&error));
    for (size_t i = 0; i < count; i++)
        raise(numbers[i]);
    expect(interrupt_signal() == 0);
}

static void ignored_signals_stay_ignored(void **state)
{
    (void)state;
    assert_alive(end_of(ignored));
}

/* ---- threads ---- */

static void *run_until(void *over)
{
    while (!atomic_load((atomic_bool *)over))
        usleep(TICK);
    return NULL;
}

/* One thread polls while the other is interrupted; tests/threads checks this for races. */
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_asks_for_an_orderly_end),
        cmocka_unit_test(repeated_ones_are_the_same_interruption),
        cmocka_unit_test(signals_that_systems_repeat_never_end_at_once),
        cmocka_unit_test(a_later_signal_of_the_user_ends_at_once),
        cmocka_unit_test(without_training_each_ends_at_once),
        cmocka_unit_test(ignored_signals_stay_ignored),
        cmocka_unit_test(signal_to_another_thread), /* last: its handler stays installed */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
