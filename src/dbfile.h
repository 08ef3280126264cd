/* The SQLite file as a file: who owns it, and when it is on the disk. */
#ifndef CURT_DBFILE_H
#define CURT_DBFILE_H

#include <stdbool.h>

/* Makes an empty file in dir if there is none. One that root makes (curt run
 * by hand) gets the owner of dir, so that the workers can write it; SQLite
 * gives its -wal and -shm files the owner of the file. What fails here fails
 * again, with a reason, when SQLite opens the file. */
void dbfile_make(const char *path, const char *dir);

/* Waits until all that was written to the write-ahead log of the database at
 * path is on the disk. *fd is the log's descriptor: -1 at first, kept for the
 * next call, closed by the caller. False, and errno, if it cannot be. */
bool dbfile_sync_log(const char *path, int *fd);

#endif
