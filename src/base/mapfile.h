/*
 * A file that processes share by mapping it, however they were started.
 *
 * The file begins with a header that identifies it. One with another header
 * (another version, another size, cut short) is never trusted: a new one
 * is put in its place, and processes that still map the old one keep that.
 * Only the user of the file can open it, so no other user can hold its lock.
 */
#ifndef CURT_MAPFILE_H
#define CURT_MAPFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

/* The words of these files are shared by processes: a libatomic with locks of
 * its own in each process would not do. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics without a lock");

/* First bytes of each file. */
struct mapfile_header {
    char magic[8];
    uint32_t version;
    uint32_t header_size; /* of this and what the owner puts after it */
    uint64_t size;        /* of the whole file */
    uint64_t owner;       /* whose data it is; 0 where that does not matter */
};

/* What a file has to be. */
struct mapfile_kind {
    struct mapfile_header header; /* size: of a new file */
    uint64_t least;               /* an existing one may have any size from
                                   * this on; 0: it must have header.size */
    bool any_owner;
    bool keep;                /* what is in the way is kept, see below */
    void (*init)(void *base); /* fills a new file; NULL: zeros will do */
    /* The size of a new file, when the room of the old one is free again; 0:
     * there is not enough room. NULL: header.size. */
    uint64_t (*choose_size)(const char *dir, uint64_t most);
};

/* A number for this boot of the machine, for owner where a file must not
 * outlive it. */
uint64_t mapfile_boot(void);

/* Whether this process is root, in the directory of another user: what that
 * user writes into a file there must not lead root astray. */
bool mapfile_is_of_other_user(const char *dir);

struct mapfile {
    void *base; /* size bytes, shared and writable */
    size_t size;
    int fd;
};

/* Maps dir/name, and creates it first where it is missing or not what kind
 * says. A new file is all zeros after the header until init has been called on
 * it; no other process sees it before. Its blocks are allocated, so that a full
 * disk shows here and not as a SIGBUS later. It has mode 0600, and the owner of
 * dir when root creates it.
 *
 * Another file in its place is removed first, because both may not have room.
 * With keep it is renamed, and never over another file: one of another version
 * or size to NAME.old, NAME.old.1 and so on; one of another owner to
 * NAME.<owner in 16 hex digits>, which gets its name back when that owner opens
 * it. A file with owner 0, from a version that did not know owners, becomes the
 * caller's. A new file that is kept is on the disk when this returns.
 *
 * Otherwise *reason, static text or strerror's, says why not. */
enum result mapfile_open(const char *dir, const char *name,
                         const struct mapfile_kind *kind, struct mapfile *out,
                         const char **reason) MUST_CHECK;

/* Maps a file only if it exists. RESULT_NOT_FOUND: it does not.
 * RESULT_DENIED: it, or its directory, may not be opened. RESULT_CORRUPT: it is
 * not what kind says. *reason as above. */
enum result mapfile_open_existing(const char *dir, const char *name,
                                  const struct mapfile_kind *kind,
                                  struct mapfile *out,
                                  const char **reason) MUST_CHECK;

/* Whether another process has put a new file in this one's place, other than
 * by renaming it. One read of the shared memory. */
bool mapfile_is_replaced(const struct mapfile *m);

/* Unmaps and closes; a mapfile that was not opened (base NULL) is allowed. */
void mapfile_close(struct mapfile *m);

/* Takes the file's lock for a moment of writing: one holder among all
 * processes, released by the kernel when the holder dies. False after about
 * wait_us microseconds: the holder is stopped or slow, do without. */
bool mapfile_lock(const struct mapfile *m, unsigned wait_us);
void mapfile_unlock(const struct mapfile *m);

#endif
