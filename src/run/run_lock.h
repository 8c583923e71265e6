/*
 * The file `lock` in a run's folder, which lets one process at a time train there. It names the
 * process ("process 123 on host"), which holds a lock (flock) on it until it ends and removes the
 * file if it ends in order. On a file system without such locks only the file protects the folder,
 * and a warning states that.
 */
#ifndef NNMF_RUN_LOCK_H
#define NNMF_RUN_LOCK_H

#include "settings/settings.h"

typedef struct RunLock {
    bool held;
    int descriptor;
    char path[SETTINGS_PATH];
} RunLock;

/* Creates and locks the file for a new run in `folder`, which exists. Fails if the file exists,
 * whether locked or left by a killed run; if several processes try at once, one succeeds. */
bool run_lock_create(RunLock *lock, const char *folder, Error *error);

/* Returns false. The error states that the folder has a run, and which process trains there, if
 * any. */
bool run_lock_refuse(const char *folder, Error *error);

/* Locks the file for a resumed run, creating it if needed. Fails if another process holds the
 * lock. */
bool run_lock_take(RunLock *lock, const char *folder, Error *error);

/* Call before writing files. Fails if the folder was moved or removed and another run has started
 * in its place; recreates the file if it was only removed. */
bool run_lock_keep(RunLock *lock, const char *folder, Error *error);

/* Removes the file and unlocks it. Does nothing if the lock is not held. */
void run_lock_release(RunLock *lock);

#endif
