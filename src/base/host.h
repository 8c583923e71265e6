/* The machine that the program runs on. */
#ifndef NNMF_HOST_H
#define NNMF_HOST_H

enum { HOST_NAME = 64 };

/* Its name, with '_' for what does not belong into a file's name. */
void host_name(char name[HOST_NAME]);

#endif
