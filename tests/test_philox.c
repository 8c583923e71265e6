#include "nnmf/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* The kat_vectors of Random123 1.14, philox4x32 with 10 rounds. */
static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const uint32_t *c = vectors[i].counter, *k = vectors[i].key;
        Philox result = philox(c[0], c[1], c[2], c[3], k[0], k[1]);
        assert_memory_equal(result.v, vectors[i].expected, sizeof result.v);
    }
}

static void draw_puts_its_arguments_in_the_documented_places(void **state)
{
    (void)state;
    Philox drawn = draw(0x123456789abcdef0, DRAW_AUGMENT, 7, 8, 9);
    Philox expected = philox(9, 8, 7, 2, 0x9abcdef0, 0x12345678);
    assert_memory_equal(&drawn, &expected, sizeof drawn);
}

static void uniform_stays_in_its_range(void **state)
{
    (void)state;
    assert_true(philox_uniform(0) == 0.0f);
    assert_true(philox_uniform(0xff) == 0.0f);
    assert_true(philox_uniform(0x100) == ldexpf(1, -24));
    assert_true(philox_uniform(0x80000000) == 0.5f);
    assert_true(philox_uniform(0xffffffff) == 1.0f - ldexpf(1, -24));
}

static void uniform_has_the_moments_of_its_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 250000 };
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        Philox drawn = draw(42, DRAW_WEIGHTS, 0, 0, i);
        for (int k = 0; k < 4; k++) {
            double value = philox_uniform(drawn.v[k]);
            sum += value;
            squares += value * value;
        }
    }
    /* Within 5 standard deviations of the means of x and of x squared over n = 4 DRAWS values. */
    double n = 4.0 * (double)DRAWS;
    assert_true(fabs(sum / n - 1.0 / 2) < 5 * sqrt(1.0 / 12 / n));
    assert_true(fabs(squares / n - 1.0 / 3) < 5 * sqrt(4.0 / 45 / n));
}

static void permuted_is_a_bijection(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 5, 7, 10, 64, 1000, 2000, 50000, 65536, 65537};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t count = counts[i];
        unsigned char *seen = calloc(count, 1);
        assert_non_null(seen);
        for (uint32_t position = 0; position < count; position++) {
            uint32_t value = draw_permuted(0x1234567890, 3, count, position);
            assert_true(value < count);
            assert_false(seen[value]);
            seen[value] = 1;
        }
        free(seen);
    }
}

static void permuted_takes_the_largest_count(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0x40000001, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t first = draw_permuted(1, 1, counts[i], 0);
        uint32_t last = draw_permuted(1, 1, counts[i], counts[i] - 1);
        assert_true(first < counts[i] && last < counts[i] && first != last);
    }
}

static void permuted_differs_between_epochs_and_seeds(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    uint32_t same_epoch = 0, same_low = 0, same_high = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t value = draw_permuted(5, 5, COUNT, i);
        same_epoch += value == draw_permuted(5, 6, COUNT, i);
        same_low += value == draw_permuted(6, 5, COUNT, i);
        same_high += value == draw_permuted(5 + (UINT64_C(1) << 32), 5, COUNT, i);
    }
    /* Random permutations agree in one position on average, in 10 with probability 1e-7. */
    assert_true(same_epoch < 10 && same_low < 10 && same_high < 10);
}

/* Asserts that a chi-square sum is within 5 standard deviations of its expectation. A sum that is
 * too small, of values more even than random ones, fails as well. */
static void assert_chi_square(double sum, double degrees)
{
    assert_true(fabs(sum - degrees) < 5 * sqrt(2 * degrees));
}

static void assert_permutations_of_4_are_equally_frequent(int by_seed)
{
    enum { TRIALS = 24000, CODES = 256, PERMUTATIONS = 24 };
    uint32_t frequency[CODES] = {0};
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        uint32_t code = 0;
        for (uint32_t i = 0; i < 4; i++)
            code = code << 2 | draw_permuted(by_seed ? trial : 11, by_seed ? 11 : trial, 4, i);
        frequency[code]++;
    }
    double expected = (double)TRIALS / (double)PERMUTATIONS, sum = 0;
    int different = 0;
    for (int i = 0; i < CODES; i++)
        if (frequency[i] > 0) {
            sum += (frequency[i] - expected) * (frequency[i] - expected) / expected;
            different++;
        }
    assert_int_equal(different, PERMUTATIONS);
    assert_chi_square(sum, PERMUTATIONS - 1);
}

static void permutations_of_4_are_equally_frequent(void **state)
{
    (void)state;
    assert_permutations_of_4_are_equally_frequent(0);
    assert_permutations_of_4_are_equally_frequent(1);
}

static void every_element_is_at_every_position_equally_often(void **state)
{
    (void)state;
    enum { COUNT = 50, EPOCHS = 20000 };
    static uint32_t frequency[COUNT][COUNT];
    double displacement = 0;
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++)
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t value = draw_permuted(21, epoch, COUNT, i);
            frequency[i][value]++;
            displacement += fabs((double)value - i);
        }
    double expected = (double)EPOCHS / (double)COUNT, sum = 0;
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < COUNT; k++) {
            double difference = frequency[i][k] - expected;
            sum += difference * difference / expected;
        }
    /* Rows and columns have fixed sums. */
    assert_chi_square(sum, (COUNT - 1) * (COUNT - 1));

    /* (n^2 - 1) / 3n for uniform positions; the variance of one displacement is below n^2/18,
     * those of one permutation are nearly independent. */
    double mean = displacement / ((double)EPOCHS * (double)COUNT);
    double deviation = sqrt(COUNT * COUNT / 18.0 / ((double)EPOCHS * (double)COUNT));
    assert_true(fabs(mean - (COUNT * COUNT - 1) / (3.0 * (double)COUNT)) < 5 * deviation);
}

/* Neighbours in the permuted order are independent: the number of ascents is as expected. */
static void neighbours_are_independent(void **state)
{
    (void)state;
    enum { COUNT = 50000, EPOCHS = 4 };
    uint32_t ascents = 0;
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint32_t before = draw_permuted(1, epoch, COUNT, 0);
        for (uint32_t i = 1; i < COUNT; i++) {
            uint32_t value = draw_permuted(1, epoch, COUNT, i);
            ascents += value > before;
            before = value;
        }
    }
    /* Eulerian numbers: mean (n - 1) / 2, variance (n + 1) / 12. */
    double mean = EPOCHS * (COUNT - 1) / 2.0;
    assert_true(fabs(ascents - mean) < 5 * sqrt(EPOCHS * (COUNT + 1) / 12.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(draw_puts_its_arguments_in_the_documented_places),
        cmocka_unit_test(uniform_stays_in_its_range),
        cmocka_unit_test(uniform_has_the_moments_of_its_distribution),
        cmocka_unit_test(permuted_is_a_bijection),
        cmocka_unit_test(permuted_takes_the_largest_count),
        cmocka_unit_test(permuted_differs_between_epochs_and_seeds),
        cmocka_unit_test(permutations_of_4_are_equally_frequent),
        cmocka_unit_test(every_element_is_at_every_position_equally_often),
        cmocka_unit_test(neighbours_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
