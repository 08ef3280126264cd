/*
 * A file that processes share by mapping it, however they were started.
 *
 * The file begins with a header that says what it is. One that says anything
 * else (another version, another size, cut short) is never trusted: a new one
 * is put in its place, and processes that still map the old one keep that.
 */
#ifndef CURT_MAPFILE_H
#define CURT_MAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "result.h"

/* First bytes of each file. */
struct mapfile_header {
    char magic[8];
    uint32_t version;
    uint32_t header_size; /* of this and what the owner puts behind it */
    uint64_t size;        /* of the whole file */
    uint64_t owner;       /* whose data it is; 0 where that does not matter */
};

/* A number for this boot of the machine, for owner where a file must not
 * outlive it. */
uint64_t mapfile_boot(void);

struct mapfile {
    void *base; /* size bytes, shared and writable */
    size_t size;
    int fd;
};

/* Maps dir/name, and makes it first where it is missing or not what header
 * (magic, version, header_size, size) says. A new file is all zeros behind the
 * header until init has been called on it; nobody sees it before. Its blocks
 * are allocated, and it gets the owner of dir when root makes it, so that a
 * full disk shows here and not as a SIGBUS later. Nobody but the owner can
 * read it or write it.
 * Otherwise *reason, static text or strerror's, says why not. */
enum result mapfile_open(const char *dir, const char *name,
                         const struct mapfile_header *header,
                         void (*init)(void *base), struct mapfile *out,
                         const char **reason) MUST_CHECK;

/* The same, but what is in the way is kept, with .old behind its name. */
enum result mapfile_open_keeping(const char *dir, const char *name,
                                 const struct mapfile_header *header,
                                 void (*init)(void *base), struct mapfile *out,
                                 const char **reason) MUST_CHECK;

/* Maps a file that is there already, of any size if the header's is 0.
 * RESULT_NOT_FOUND: there is none. RESULT_DENIED: it, or its directory, may not
 * be opened. RESULT_CORRUPT: it is not what header says. *reason as above. */
enum result mapfile_open_existing(const char *dir, const char *name,
                                  const struct mapfile_header *header,
                                  struct mapfile *out,
                                  const char **reason) MUST_CHECK;

/* Unmaps and closes; a mapfile that was not opened (base NULL) is allowed. */
void mapfile_close(struct mapfile *m);

/* Takes the file's lock for a moment of writing: one holder among all
 * processes, released by the kernel when the holder dies. False after about
 * wait_us microseconds: the holder is stopped or slow, do without. */
bool mapfile_lock(const struct mapfile *m, unsigned wait_us);
void mapfile_unlock(const struct mapfile *m);

#endif
