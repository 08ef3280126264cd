/*
 * The address of the workers' socket: RUNTIME_DIR/socket, a line of text.
 * curt.fcgi finds its socket on a descriptor and needs no name for it; the
 * operator's tool does.
 */
#ifndef CURT_SOCKNAME_H
#define CURT_SOCKNAME_H

#include <sys/socket.h>

#include "config/conf.h"

/* Writes the address of the listening socket fd: "unix:/run/curt.sock",
 * "unix:@name" for an abstract one, "tcp:127.0.0.1:9000", "tcp:[::1]:9000".
 * Each process that was started on its own writes it; the last one stays.
 * Failures are logged: only `curt doctor` needs the file. */
void sockname_write(const struct conf *conf, int fd);

/* The address that was written last, which the caller frees; its pool may have
 * ended. NULL, and errno: the file cannot be read, or it has no such line
 * (EBADMSG). */
char *sockname_read(const struct conf *conf);

/* Parses such an address, a wildcard one as loopback, for connect(2). Returns
 * the size of *out; 0: not an address. */
socklen_t sockname_parse(const char *text, struct sockaddr_storage *out);

#endif
