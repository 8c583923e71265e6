/* The schedule on hand-made losses, and on the published curve if NNMF_REFERENCE names it. */
#include "network/network.h"
#include "training/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void drops_after_more_than_ten_bad_epochs(void **state)
{
    (void)state;
    Schedule s = schedule_start(0.01);
    assert_false(schedule_step(&s, 5.0)); /* the minimum so far */
    for (int i = 0; i < 10; i++)
        assert_false(schedule_step(&s, 5.0));
    assert_true(schedule_step(&s, 5.0));
    assert_float_equal(s.learning_rate, 0.001, 1e-12);
    assert_int_equal(s.bad_epochs, 0);
}

static void better_means_a_ten_thousandth(void **state)
{
    (void)state;
    Schedule s = schedule_start(0.01);
    schedule_step(&s, 1.0);
    schedule_step(&s, 1.0 - 0.9e-4);
    assert_int_equal(s.bad_epochs, 1);
    schedule_step(&s, 1.0 - 1.1e-4);
    assert_int_equal(s.bad_epochs, 0);
    assert_true(s.best == 1.0 - 1.1e-4);
}

static void tiny_reductions_are_not_made(void **state)
{
    (void)state;
    Schedule s = schedule_start(1e-10);
    for (int i = 0; i < 100; i++)
        assert_false(schedule_step(&s, 1.0));
    assert_true(s.learning_rate == 1e-10);
}

static void a_loss_that_is_not_a_number_is_bad(void **state)
{
    (void)state;
    Schedule s = schedule_start(1.0);
    schedule_step(&s, NAN);
    assert_int_equal(s.bad_epochs, 1);
    assert_true(isinf(s.best));
}

static void finished_rounds_to_float32(void **state)
{
    (void)state;
    Schedule s[GROUPS] = {schedule_start(1e-10), schedule_start(1.0000000000000005e-09),
                          schedule_start(1e-10)};
    assert_true(schedule_finished(s, GROUPS, 1e-9)); /* false in double precision */
    s[1].learning_rate = 1.0000001e-9;
    assert_false(schedule_finished(s, GROUPS, 1e-9));
    assert_false(schedule_finished(s, GROUPS, 0.0));
}

/* The published run: drops after epochs 212, 299, 325, 336, 347, 358, 369, and the end. */
static void published_curve(void **state)
{
    (void)state;
    static const int expected[] = {212, 299, 325, 336, 347, 358, 369};
    const char *folder = getenv("NNMF_REFERENCE");
    if (!folder) {
        print_message("skipped: NNMF_REFERENCE is not set\n");
        skip();
    }
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/training_curve.csv", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    Schedule s[GROUPS] = {schedule_start(0.001), schedule_start(0.01), schedule_start(0.001)};
    int drops = 0, epoch = -1;
    double loss;
    while (!schedule_finished(s, GROUPS, 1e-9) && fgets(line, sizeof line, file)) {
        assert_int_equal(sscanf(line, "%d,%lf", &epoch, &loss), 2);
        for (int i = 0; i < GROUPS; i++)
            if (schedule_step(&s[i], loss * 50000.0) && i == GROUP_NNMF) {
                assert_true(drops < 7);
                assert_int_equal(epoch, expected[drops]);
                drops++;
            }
    }
    fclose(file);
    assert_int_equal(drops, 7);
    assert_int_equal(epoch, 369);
    assert_true(schedule_finished(s, GROUPS, 1e-9));
    assert_float_equal(s[GROUP_CNN_TOP].learning_rate, 1e-10, 1e-20);
    assert_float_equal(s[GROUP_NNMF].learning_rate, 1e-9, 1e-20);
}

/* Setting the rate keeps the lowest loss and restarts the patience. */
static void another_rate(void **state)
{
    (void)state;
    Schedule s = schedule_start(0.01);
    schedule_step(&s, 1.0);
    for (int i = 0; i < 10; i++)
        assert_false(schedule_step(&s, 2.0));
    schedule_set_rate(&s, 0.5);
    for (int i = 0; i < 10; i++)
        assert_false(schedule_step(&s, 2.0));
    assert_float_equal(s.learning_rate, 0.5, 0.0);
    assert_true(schedule_step(&s, 2.0));
    assert_true(s.learning_rate == 0.5 * 0.1);
}

static void where_a_rate_comes_from(void **state)
{
    (void)state;
    Schedule s = schedule_start(0.01);
    for (int drops = 0; drops < 7; drops++) {
        assert_true(schedule_comes_from(&s, 0.01));
        assert_false(schedule_comes_from(&s, 0.005));
        assert_false(schedule_comes_from(&s, 0.0));
        while (!schedule_step(&s, 1.0))
            ;
    }
    s = schedule_start(0.0);
    assert_true(schedule_comes_from(&s, 0.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_after_more_than_ten_bad_epochs),
        cmocka_unit_test(better_means_a_ten_thousandth),
        cmocka_unit_test(tiny_reductions_are_not_made),
        cmocka_unit_test(a_loss_that_is_not_a_number_is_bad),
        cmocka_unit_test(finished_rounds_to_float32),
        cmocka_unit_test(another_rate),
        cmocka_unit_test(where_a_rate_comes_from),
        cmocka_unit_test(published_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
