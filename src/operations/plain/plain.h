/* The plain C version, which defines every operation: simple, scalar, with sums in double. Shapes
 * and formulas: nnmf/operations.h. The fast CPU table uses these versions of the operations that
 * are not worth making faster. */
#ifndef NNMF_PLAIN_H
#define NNMF_PLAIN_H

#include "nnmf/operations.h"

/* Each function fills in the operations of its family. */
#define PLAIN_DECLARE(family) void plain_##family##_table(Operations *table);
OPERATION_FAMILIES(PLAIN_DECLARE)
#undef PLAIN_DECLARE

/* Fills in all operations and the functions for memory. */
void plain_table(Operations *table);

#endif
