#include "process/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* Longest report. */
#define NOTIFY_MAX 256

void notify_open(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    const char *of = getenv("WATCHDOG_PID");
    const size_t len = path != NULL ? strlen(path) : 0;
    uint64_t time, pid;
    *n = (struct notify){.address.sun_family = AF_UNIX};
    if (len > 1 && len < sizeof(n->address.sun_path) &&
        (path[0] == '/' || path[0] == '@')) {
        memcpy(n->address.sun_path, path, len);
        if (path[0] == '@') /* an abstract name */
            n->address.sun_path[0] = '\0';
        n->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    /* Twice in the time after which it would be missed: sd_watchdog_enabled(3).
     */
    if (n->size > 0 && usec != NULL && text_number(usec, INT64_MAX, &time) &&
        (of == NULL ||
         (text_number(of, INT32_MAX, &pid) && (pid_t)pid == getpid())))
        n->watchdog_ms = (int64_t)(time / 2000);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_send(const struct notify *n, const char *format, ...)
{
    char text[NOTIFY_MAX];
    va_list ap;
    if (n->size == 0)
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
           (const struct sockaddr *)&n->address, n->size);
    close(fd);
}
