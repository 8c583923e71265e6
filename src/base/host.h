/* The name of the machine that the program runs on. */
#ifndef NNMF_HOST_H
#define NNMF_HOST_H

enum { HOST_NAME = 64 };

/* Copies the host's name, with '_' for characters that do not belong in a file name. */
void host_name(char name[HOST_NAME]);

#endif
