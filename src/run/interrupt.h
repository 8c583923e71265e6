/*
 * Handles the signals that end a program: SIGINT, SIGTERM, SIGHUP (closed terminal or ssh),
 * SIGUSR1, SIGUSR2, SIGXCPU (sent by batch systems before a limit) and SIGQUIT. Signals that were
 * ignored when the program started stay ignored (nohup, background jobs).
 */
#ifndef NNMF_INTERRUPT_H
#define NNMF_INTERRUPT_H

#include "nnmf/error.h"

/* Makes each of them end the program at once with its default action; as process 1 of a container,
 * for which the default action does nothing, with status 128 + signal. */
bool interrupt_end_at_once(Error *error);

/* Makes the first of them, except SIGQUIT, request an orderly end (interrupt_signal). Repeated
 * signals are ignored, because timeout(1) signals the process and then its group, and the kernel
 * sends SIGXCPU every second; but a SIGINT or SIGTERM a second or more after the first signal ends
 * the program at once. */
bool interrupt_catch(Error *error);

/* Returns the number of the first signal received, or 0. */
int interrupt_signal(void);

#endif
