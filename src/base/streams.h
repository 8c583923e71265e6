/* Standard input, output and error. */
#ifndef NNMF_STREAMS_H
#define NNMF_STREAMS_H

#include "nnmf/error.h"

/* Opens those that the program was started without, so that no file of its own gets their numbers
 * and with them what is printed. Reading or writing them fails as before. To be called before
 * anything else opens a file. */
bool streams_open_closed(Error *error);

#endif
