#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void the_clock_counts_seconds(void **state)
{
    (void)state;
    struct timespec a_while = {.tv_nsec = 20 * 1000 * 1000};
    double started = seconds_now();
    nanosleep(&a_while, NULL);
    double passed = seconds_now() - started;
    assert_true(passed >= 0.02 && passed < 10);
    /* Also from one second to the next. */
    double last = started;
    for (double now = started; now < started + 1.1; last = now, now = seconds_now())
        assert_true(now >= last && now - last < 1);
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

static void the_median_is_in_the_middle(void **state)
{
    (void)state;
    double one[] = {7}, odd[] = {0.3, 100, 0.1, 0.2, 1e-9}, even[] = {4, 1, 3, 2};
    double equal[] = {2, 2, 1, 2}, sorted[] = {1, 2, 3}, reversed[] = {3, 2, 1};
    assert_true(median(one, 1) == 7);
    assert_true(median(odd, 5) == 0.2);
    assert_true(median(even, 4) == 3);
    assert_true(median(equal, 4) == 2);
    assert_true(median(sorted, 3) == 2);
    assert_true(median(reversed, 3) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_counts_seconds),
        cmocka_unit_test(durations_are_rounded_to_what_matters),
        cmocka_unit_test(the_median_is_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
