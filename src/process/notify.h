/*
 * Reports to the service manager that started this process: the protocol of
 * sd_notify(3), one datagram for each report. Without a service manager
 * nothing is sent.
 */
#ifndef CURT_NOTIFY_H
#define CURT_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un address;
    socklen_t size;      /* of the address; 0: no reports */
    int64_t watchdog_ms; /* time between two WATCHDOG=1; 0: not wanted */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them from
 * the environment: they are not for the programs that this one starts. */
void notify_open(struct notify *n);

/* Sends assignments, such as "READY=1\nSTATUS=text". What cannot be sent is
 * lost: the service manager acts on that by its own time limits. */
void notify_send(const struct notify *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
