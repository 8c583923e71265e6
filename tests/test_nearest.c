#include "settings/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FORTY "0123456789abcdefghijklmnopqrstuvwxyzABCD"

static void assert_nearest(const char *word, const char *expected)
{
    static const char *const names[] = {"epochs",  "epsilon", "batch-size", "lr",
                                        FORTY "E", FORTY,     NULL};
    const char *found = nearest_name(word, strlen(word), names);
    if (expected)
        assert_string_equal(found, expected);
    else
        assert_null(found);
}

static void one_edit_for_every_three_bytes(void **state)
{
    (void)state;
    assert_nearest("epochs", "epochs");
    assert_nearest("epoch", "epochs");   /* deletion */
    assert_nearest("epochss", "epochs"); /* insertion */
    assert_nearest("epoxhs", "epochs");  /* replacement */
    assert_nearest("eopchs", "epochs");  /* swap */
    assert_nearest("eopcsh", "epochs");  /* two edits */
    assert_nearest("oepcsh", NULL);      /* three edits in six bytes */
    assert_nearest("btchsize", "batch-size");
    assert_nearest("l", "lr");
    assert_nearest("rl", "lr");
    assert_nearest("xy", NULL);
}

static void or_a_common_prefix(void **state)
{
    (void)state;
    assert_nearest("ep", "epochs");
    assert_nearest("eps", "epsilon");
    assert_nearest("ba", "batch-size");
    assert_nearest("", NULL);
}

/* The maximum length that is compared; longer names and words never match. */
static void the_maximum_length(void **state)
{
    (void)state;
    char word[] = FORTY;
    assert_nearest(word, FORTY);
    word[39] = 'x';
    assert_nearest(word, FORTY);
    memset(word, 'x', 13);
    assert_nearest(word, NULL);
    assert_nearest(FORTY "E", NULL);
}

/* The word may be part of a longer text. */
static void a_part_of_a_text(void **state)
{
    (void)state;
    static const char *const names[] = {"data", "dataset", NULL};
    assert_string_equal(nearest_name("dataset=x", 7, names), "dataset");
    assert_string_equal(nearest_name("dataset=x", 4, names), "data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_edit_for_every_three_bytes),
        cmocka_unit_test(or_a_common_prefix),
        cmocka_unit_test(the_maximum_length),
        cmocka_unit_test(a_part_of_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
