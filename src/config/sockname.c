#include "config/sockname.h"

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

#include "base/mem.h"
#include "base/text.h"

/* Longest line: a working directory and a path of sun_path's 108 bytes. */
#define LINE_MAX_LEN 4608

union address {
    struct sockaddr any;
    struct sockaddr_storage storage;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static char *unix_text(const struct sockaddr_un *address, socklen_t size)
{
    const size_t begin = offsetof(struct sockaddr_un, sun_path);
    if (size <= begin || (address->sun_path[0] == '\0' && size == begin + 1))
        return NULL; /* without a name it cannot be connected to */
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
    union address address;
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

/* Reads "127.0.0.1:9000" or "[::1]:9000". */
static socklen_t read_tcp(const char *text, union address *out)
{
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !text_number(colon + 1, UINT16_MAX, &port))
        return 0;
    const bool six = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    char *host = six ? mem_dup_bytes(text + 1, (size_t)(colon - text - 2))
                     : mem_dup_bytes(text, (size_t)(colon - text));
    socklen_t size = 0;
    if (six && inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons((uint16_t)port);
        if (IN6_IS_ADDR_UNSPECIFIED(&out->in6.sin6_addr))
            out->in6.sin6_addr = in6addr_loopback;
        size = sizeof(out->in6);
    } else if (!six && inet_pton(AF_INET, host, &out->in.sin_addr) == 1) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons((uint16_t)port);
        if (out->in.sin_addr.s_addr == htonl(INADDR_ANY))
            out->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        size = sizeof(out->in);
    }
    free(host);
    return size;
}

socklen_t sockname_parse(const char *text, struct sockaddr_storage *out)
{
    union address address;
    socklen_t size = 0;
    memset(&address, 0, sizeof(address));
    if (strncmp(text, "unix:", 5) == 0) {
        const size_t len = strlen(text + 5);
        char *path = address.un.sun_path;
        address.un.sun_family = AF_UNIX;
        if (len > 0 && len < sizeof(address.un.sun_path)) {
            memcpy(path, text + 5, len);
            size = sizeof(address.un);
        }
        if (path[0] == '@') { /* abstract: no NUL ends it */
            path[0] = '\0';
            size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        }
    } else if (strncmp(text, "tcp:", 4) == 0) {
        size = read_tcp(text + 4, &address);
    }
    *out = address.storage;
    return size;
}

void sockname_write(const struct conf *conf, int fd)
{
    char *address = address_text(fd);
    if (address == NULL)
        return;
    /* Written under a name of this process's own and renamed: a reader finds a
     * whole line. */
    char *path = mem_printf("%s/socket", conf->runtime_dir);
    char *fresh = mem_printf("%s.%ld", path, (long)getpid());
    unlink(fresh); /* of a dead process that had the same number */
    int out = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (out < 0 || dprintf(out, "%s\n", address) < 0 ||
        rename(fresh, path) < 0) {
        log_info("`curt doctor` cannot find the workers' socket: %s: %s", path,
                 strerror(errno));
        if (out >= 0)
            unlink(fresh);
    }
    if (out >= 0)
        close(out);
    free(fresh);
    free(path);
    free(address);
}

char *sockname_read(const struct conf *conf)
{
    char text[LINE_MAX_LEN], *end = NULL;
    struct stat st;
    char *path = mem_printf("%s/socket", conf->runtime_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    if (fd < 0)
        return NULL;
    errno = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        const ssize_t len = read(fd, text, sizeof(text));
        if (len > 0 && memchr(text, '\0', (size_t)len) == NULL)
            end = memchr(text, '\n', (size_t)len);
    }
    if (end == NULL && errno == 0)
        errno = EBADMSG;
    const int reason = errno;
    close(fd);
    errno = reason;
    return end != NULL ? mem_dup_bytes(text, (size_t)(end - text)) : NULL;
}
