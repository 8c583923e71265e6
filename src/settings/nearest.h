/* Suggests a name for a mistyped word. */
#ifndef NNMF_NEAREST_H
#define NNMF_NEAREST_H

#include <stddef.h>

/* Returns the one of `names` (NULL at the end) that the fewest edits make from the first `length`
 * bytes of `word`, if that is at most one edit per three bytes (one edit of a shorter word); else
 * the first name that begins with `word`; else NULL. An edit inserts, deletes or replaces a byte,
 * or swaps two adjacent ones. */
const char *nearest_name(const char *word, size_t length, const char *const *names);

#endif
