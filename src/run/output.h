/* Standard output of commands that also write files: they go on without a reader. */
#ifndef NNMF_OUTPUT_H
#define NNMF_OUTPUT_H

/* From now on a reader of standard output that goes away (`| head`, a terminal that hangs up) does
 * not end the program. */
void output_outlive_reader(void);

/* To be called after each part of what is printed. Says once on standard error that the reader has
 * gone; what is printed after that goes nowhere and is no failure. Any other failure stays the
 * stream's, which main() sees. */
void output_flush(void);

#endif
