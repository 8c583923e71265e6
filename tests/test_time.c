#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static double monotonic_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Runs for longer than a second, so that the seconds change at least once. */
static void the_clock_is_the_monotonic_one(void **state)
{
    (void)state;
    const double rounding = 1e-6, begin = monotonic_clock();
    double before, now, after;
    do {
        before = monotonic_clock();
        now = seconds_now();
        after = monotonic_clock();
        assert_true(before - rounding <= now && now <= after + rounding);
    } while (after < begin + 1.1);
}

static void durations_are_rounded_to_what_matters(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},
        {0.4, "0 s"},
        {0.5, "1 s"},
        {61.7, "62 s"},
        {119.4, "119 s"},
        {119.5, "2 min 00 s"},
        {120, "2 min 00 s"},
        {185, "3 min 05 s"},
        {3600, "60 min 00 s"},
        {7199.4, "119 min 59 s"},
        {7199.5, "2 h 00 min"},
        {7200, "2 h 00 min"},
        {3600 * 25 + 60 * 7 + 59, "25 h 07 min"},
    };
    char buffer[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(duration_text(cases[i].seconds, buffer), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_is_the_monotonic_one),
        cmocka_unit_test(durations_are_rounded_to_what_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
