/* Standard input, output and error. */
#ifndef NNMF_STREAMS_H
#define NNMF_STREAMS_H

#include "nnmf/error.h"

/* Opens /dev/null for each of them that is closed, so that no file opened later gets its descriptor
 * and with it what is printed. Reading or writing such a stream still fails. Call it before
 * anything else opens a file. */
bool streams_open_closed(Error *error);

#endif
