/* Checks kernels/division.cuh against the processor's division. */
#include "division.cuh"
#include "expect.h"

static void check(unsigned number, const Divisor &by)
{
    QuotientAndRemainder have = divide(number, by);
    if (have.quotient != number / by.by || have.remainder != number % by.by)
        fprintf(stderr, "%u / %u is %u, remainder %u\n", number, by.by, have.quotient,
                have.remainder);
    EXPECT(have.quotient == number / by.by && have.remainder == number % by.by);
    EXPECT(quotient_of(number, by) == number / by.by);
}

/* Checks multiples of `by` and their neighbours, where a quotient off by one shows, up to the
 * maximum. */
static void check_divisor(unsigned by)
{
    const unsigned most = (1u << 31) - 1, largest = most / by;
    Divisor divisor_of = divisor(by);
    for (unsigned i = 0; i < 300; i++) {
        unsigned spread = unsigned((unsigned long long)largest * i / 299);
        for (unsigned factor :
             {i < largest ? i : largest, largest - (i < largest ? i : largest), spread})
            for (unsigned number : {factor * by, factor * by - 1, factor * by + by - 1})
                if (number <= most)
                    check(number, divisor_of);
    }
    check(most, divisor_of);
}

int main(void)
{
    for (unsigned by = 1; by <= 5000; by++)
        check_divisor(by);
    for (unsigned bit = 13; bit < 31; bit++)
        for (unsigned off : {-1u, 0u, 1u, 3u})
            check_divisor((1u << bit) + off);
    check_divisor((1u << 31) - 1);
    check_divisor(1u << 31);
    puts("divisions are right");
    return 0;
}
