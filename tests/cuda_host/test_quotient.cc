/* kernels/quotient.cuh against the processor's own division. */
#include "expect.h"
#include "quotient.cuh"

#include <cmath>
#include <cstdio>

/* The emulated reciprocal is off by as much as PTX's may be. */
static void test_quotients(void)
{
    double worst = 0.0;
    for (int i = 0; i < 1000000; i++) {
        float x = std::ldexp(1.0f + float(i % 977) / 977, i % 61 - 40);
        float y = std::ldexp(1.0f + float(i) / 1000000, i % 245 - 122);
        double exact = double(x) / double(y);
        if (exact < 1e-30 || exact > 1e38)
            continue;
        float q = quotient(x, y);
        float away = std::fabs(std::nextafterf(float(exact), INFINITY) - float(exact));
        worst = std::fmax(worst, std::fabs(double(q) - exact) / double(away));
        EXPECT(std::fabs(double(approximate_quotient(x, y)) / exact - 1.0) < 0x1p-22);
    }
    printf("quotients: at most %.3f of the last place off\n", worst);
    EXPECT(worst < 1.0);
    EXPECT(quotient(0.0f, 1e-20f) == 0.0f && quotient(1.0f, 1e-37f) == 1e37f);
    for (float wrong : {NAN, INFINITY, -INFINITY}) {
        EXPECT(!std::isfinite(quotient(wrong, 0.5f)) && !std::isfinite(quotient(wrong, 0.0f)));
        EXPECT(!std::isfinite(approximate_quotient(wrong, 0.5f)));
    }
    EXPECT(std::isnan(quotient(0.5f, NAN)) && std::isnan(approximate_quotient(0.5f, NAN)));
}

int main(void)
{
    test_quotients();
    puts("quotients are right");
    return 0;
}
