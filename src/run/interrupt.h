/*
 * Signals that end a program: SIGINT, SIGTERM, SIGHUP (a terminal or ssh that hangs up), SIGUSR1,
 * SIGUSR2, SIGXCPU (batch systems, before a limit) and SIGQUIT. One that was ignored when the
 * program started stays ignored (nohup, jobs in the background).
 */
#ifndef NNMF_INTERRUPT_H
#define NNMF_INTERRUPT_H

#include "nnmf/error.h"

/* From now on each of them ends the program at once, by the signal as the default does; as process
 * 1 of a container too, for which the default does nothing: then with status 128 + signal. */
bool interrupt_end_at_once(Error *error);

/* From now on the first of them, but SIGQUIT, asks for an orderly end. Repeated ones mean nothing
 * more, since timeout(1) signals the process and then its group, and the kernel sends SIGXCPU every
 * second; but a SIGINT or SIGTERM a second or more after the first ends the program at once. */
bool interrupt_catch(Error *error);

/* The number of the first signal once one came, else 0. */
int interrupt_signal(void);

#endif
