#include "base/median.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_median_is_in_the_middle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
