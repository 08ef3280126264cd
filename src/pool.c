#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem.h"

/* Longest line: a path of sun_path's 108 bytes behind a working directory. */
#define LINE_MAX_LEN 4608

static char *unix_text(const struct sockaddr_un *address, socklen_t size)
{
    const size_t begin = offsetof(struct sockaddr_un, sun_path);
    if (size <= begin || (address->sun_path[0] == '\0' && size == begin + 1))
        return NULL; /* without a name nobody can connect to it */
    if (address->sun_path[0] == '\0')
        return mem_printf("unix:@%.*s", (int)(size - begin - 1),
                          address->sun_path + 1);
    char *path = mem_dup_bytes(address->sun_path,
                               strnlen(address->sun_path, size - begin));
    char *cwd = path[0] != '/' ? getcwd(NULL, 0) : NULL;
    char *text = mem_printf("unix:%s%s%s", cwd != NULL ? cwd : "",
                            cwd != NULL ? "/" : "", path);
    free(cwd);
    free(path);
    return text;
}

static char *address_text(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    char host[INET6_ADDRSTRLEN] = "";
    socklen_t size = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, &address.any, &size) < 0)
        return NULL;
    switch (address.any.sa_family) {
    case AF_UNIX:
        return unix_text(&address.un, size);
    case AF_INET:
        inet_ntop(AF_INET, &address.in.sin_addr, host, sizeof(host));
        return mem_printf("tcp:%s:%u", host, ntohs(address.in.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &address.in6.sin6_addr, host, sizeof(host));
        return mem_printf("tcp:[%s]:%u", host, ntohs(address.in6.sin6_port));
    default:
        return NULL;
    }
}

/* Writes the line under a name of this process's own, and renames it, so that
 * a reader finds a whole one. False: errno says why not. */
static bool write_line(const char *path, const char *address)
{
    char *fresh = mem_printf("%s.%ld", path, (long)getpid());
    char *line = mem_printf("%s\n", address);
    const ssize_t len = (ssize_t)strlen(line);
    unlink(fresh); /* of a dead process that had the same number */
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    bool done = fd >= 0 && write(fd, line, (size_t)len) == len;
    if (fd >= 0 && close(fd) < 0)
        done = false;
    done = done && rename(fresh, path) == 0;
    const int reason = errno;
    if (fd >= 0 && !done)
        unlink(fresh);
    errno = reason;
    free(line);
    free(fresh);
    return done;
}

void pool_note(const struct conf *conf, int fd)
{
    char *address = address_text(fd);
    char *path = mem_printf("%s/socket", conf->runtime_dir);
    if (address != NULL && !write_line(path, address))
        log_info("%s: %s; `curt doctor` cannot know where the workers listen",
                 path, strerror(errno));
    free(path);
    free(address);
}

static ssize_t read_file(const char *path, char *text, size_t size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t len = -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        len = read(fd, text, size);
    else
        errno = EBADMSG;
    close(fd);
    return len;
}

char *pool_address(const struct conf *conf)
{
    char text[LINE_MAX_LEN];
    char *path = mem_printf("%s/socket", conf->runtime_dir);
    ssize_t len = read_file(path, text, sizeof(text));
    free(path);
    if (len < 0)
        return NULL;
    char *end = memchr(text, '\n', (size_t)len);
    if (end == NULL || memchr(text, '\0', (size_t)len) != NULL) {
        errno = EBADMSG;
        return NULL;
    }
    return mem_dup_bytes(text, (size_t)(end - text));
}
