/* What somebody meant who mistyped a name. */
#ifndef NNMF_NEAREST_H
#define NNMF_NEAREST_H

#include <stddef.h>

/* The one of `names` (up to NULL) that is nearest to the first `length` bytes of `word` by edits
 * (a byte put in, left out, replaced, or two neighbours swapped), if that takes at most one edit
 * for every three bytes; else the first that begins with `word`; else NULL. */
const char *nearest_name(const char *word, size_t length, const char *const *names);

#endif
