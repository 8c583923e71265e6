/* The plain C version of every operation: its definition. Simple, scalar, sums in double. Shapes
 * and formulas: nnmf/operations.h. The fast CPU table takes over from here what is not worth
 * doing faster. */
#ifndef NNMF_PLAIN_H
#define NNMF_PLAIN_H

#include "nnmf/operations.h"

/* Each fills in its family's operations. */
#define PLAIN_DECLARE(family) void plain_##family##_table(Operations *table);
OPERATION_FAMILIES(PLAIN_DECLARE)
#undef PLAIN_DECLARE

/* All of them, and the memory. */
void plain_table(Operations *table);

#endif
