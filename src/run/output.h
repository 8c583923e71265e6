/* Standard output of commands that also write files and continue if its reader closes it. */
#ifndef NNMF_OUTPUT_H
#define NNMF_OUTPUT_H

/* Lets the program continue when the reader of standard output closes it (`| head`, a closed
 * terminal). */
void output_outlive_reader(void);

/* Flushes standard output. If its reader has closed it, warns once and discards all later output
 * without an error. Other errors stay set in the stream, and main() reports them. */
void output_flush(void);

#endif
