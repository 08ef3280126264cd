/*
 * Locks between processes, which the kernel releases when their holder dies.
 */
#ifndef CURT_LOCK_H
#define CURT_LOCK_H

#include <stdbool.h>

/* flock() on an open file. False after about wait_us microseconds, with errno
 * EWOULDBLOCK: another process has it. */
bool lock_wait(int fd, unsigned wait_us);

/* Opens a file to lock, which is created in dir if it is missing. Only its
 * owner can open it, because a process that can open a file can lock it; one of
 * an earlier version, which the group could read, is closed to the group.
 * Returns a descriptor, or -1 and errno. */
int lock_open(const char *dir, const char *path);

/* Takes the lock of the file dir/name, by lock_open(). A file that was removed
 * or replaced in the meantime does not count. Returns a
 * descriptor, and closing it releases the lock; or -1 with errno as above, or
 * with why the file cannot be used. */
int lock_take(const char *dir, const char *name, unsigned wait_us);

/* Whether fd is still the file dir/name; otherwise another process may have
 * the lock by now. */
bool lock_is_valid(int fd, const char *dir, const char *name);

/* A file that root has created is for the workers: gives it to the owner of
 * dir. What fails is logged. */
void lock_give_to_owner(int fd, const char *dir);

#endif
