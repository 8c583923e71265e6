/* The plain C version of every operation: its definition. Simple, scalar, sums in double. Shapes
 * and formulas: nnmf/operations.h. The fast CPU table takes over from here what is not worth
 * doing faster. */
#ifndef NNMF_PLAIN_H
#define NNMF_PLAIN_H

#include "nnmf/operations.h"

void plain_memory_table(Operations *table);
void plain_batch_table(Operations *table);
void plain_unfold_table(Operations *table);
void plain_relu_table(Operations *table);
void plain_weight_table(Operations *table);
void plain_nnmf_table(Operations *table);
void plain_batchnorm_table(Operations *table);
void plain_convolution_table(Operations *table);
void plain_loss_table(Operations *table);
void plain_adam_table(Operations *table);

/* All of the above. */
void plain_table(Operations *table);

#endif
