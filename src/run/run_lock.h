/*
 * The file `lock` in a run's folder: one process at a time trains there. It says which,
 * "process 123 on host", and that process holds a lock (flock) on it until it ends, however it
 * ends; one that ends in order removes the file. On a file system without such locks the file alone
 * has to do, which standard error says.
 */
#ifndef NNMF_RUN_LOCK_H
#define NNMF_RUN_LOCK_H

#include "settings/settings.h"

typedef struct RunLock {
    bool held;
    int descriptor;
    char path[SETTINGS_PATH];
} RunLock;

/* For a new run in `folder`, which exists. Fails where the file is there, locked or left by a run
 * that was killed: of several processes that try at once one succeeds. */
bool run_lock_create(RunLock *lock, const char *folder, Error *error);

/* Fails with what keeps a new run from a folder that has one: whether a process trains there. */
bool run_lock_refuse(const char *folder, Error *error);

/* For a run that goes on. Fails where another process holds the lock. */
bool run_lock_take(RunLock *lock, const char *folder, Error *error);

/* To be called before files are written: the folder may have been moved away or removed, and
 * another run may have begun in its place. Fails then; a file that has only been removed is made
 * again. */
bool run_lock_keep(RunLock *lock, const char *folder, Error *error);

/* Removes the file; also fine on a lock that is not held. */
void run_lock_release(RunLock *lock);

#endif
