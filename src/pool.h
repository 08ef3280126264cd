/*
 * Where the workers of this host listen: RUNTIME_DIR/socket, a line of text.
 * curt.fcgi finds its socket on a descriptor and needs no name for it; the
 * operator's tool does.
 */
#ifndef CURT_POOL_H
#define CURT_POOL_H

#include "conf.h"

/* Writes down the address of the listening socket fd: "unix:/run/curt.sock",
 * "unix:@name" for an abstract one, "tcp:127.0.0.1:9000", "tcp:[::1]:9000".
 * Processes that were started one by one write it one after the other; the
 * last one stands. What fails is logged: nothing but `curt doctor` needs it. */
void pool_note(const struct conf *conf, int fd);

/* What was written down last, which the caller frees; it may be of a pool that
 * is gone. NULL, and errno: nothing that can be read, or no such text
 * (EBADMSG). */
char *pool_address(const struct conf *conf);

#endif
