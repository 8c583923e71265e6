#include "run/progress.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_first_steps_do_not_count(void **state)
{
    (void)state;
    Progress p;
    progress_forbid();
    progress_start(&p, "Training", 0, 100, 20, 5);
    assert_true(progress_step_seconds(&p, 1) == 0.0);
    progress_show(&p, 20); /* no step done yet */
    assert_int_equal(p.warm, 20);
    progress_show(&p, 23);
    assert_int_equal(p.warm, 23);
    assert_true(progress_step_seconds(&p, 1) == 0.0);
    progress_show(&p, 24);
    progress_show(&p, 24);
    progress_show(&p, 33);
    assert_int_equal(p.warm, 23);
    assert_int_equal(p.done, 33);
    p.done_at = p.warm_at + 5.0;
    assert_true(fabs(progress_step_seconds(&p, 1) - 0.5) < 1e-9);
    assert_true(fabs(progress_step_seconds(&p, 10) - 0.5) < 1e-9);
    assert_true(progress_step_seconds(&p, 11) == 0.0);
    progress_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_steps_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
