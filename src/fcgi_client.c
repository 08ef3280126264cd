#include "fcgi_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "fcgi_record.h"
#include "mem.h"
#include "num.h"

#define REQUEST_MAX 16384

/* ---- Addresses ------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t read_unix(const char *path, struct sockaddr_un *out)
{
    const size_t len = strlen(path);
    out->sun_family = AF_UNIX;
    if (len == 0 || len >= sizeof(out->sun_path))
        return 0;
    memcpy(out->sun_path, path, len);
    if (path[0] != '@')
        return sizeof(*out);
    out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Reads "127.0.0.1:9000" or "[::1]:9000". */
static socklen_t read_tcp(const char *text, union address *out)
{
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !num_parse(colon + 1, UINT16_MAX, &port))
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

/* Returns the size of the address, 0 if text is none. */
static socklen_t read_address(const char *text, union address *out)
{
    memset(out, 0, sizeof(*out));
    if (strncmp(text, "unix:", 5) == 0)
        return read_unix(text + 5, &out->un);
    return strncmp(text, "tcp:", 4) == 0 ? read_tcp(text + 4, out) : 0;
}

/* ---- The connection -------------------------------------------------- */

struct exchange {
    int fd;
    int64_t deadline;
    struct buf *reason;
};

static enum result client_fail(struct buf *reason, enum result r,
                               const char *text)
{
    buf_reset(reason);
    buf_add_str(reason, text);
    return r;
}

/* The time that is left limits the next call on the socket. */
static bool limit_calls(int fd, int64_t deadline)
{
    const int64_t left = deadline - clock_monotonic_ms();
    const struct timeval limit = {left / 1000, left % 1000 * 1000};
    return left > 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ==
               0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
}

enum result fcgi_client_connect(const char *address, int64_t deadline, int *fd,
                                struct buf *reason)
{
    union address parsed;
    const socklen_t size = read_address(address, &parsed);
    *fd = -1;
    if (size == 0)
        return client_fail(reason, RESULT_INVALID,
                           "not the address of a socket");
    *fd = socket(parsed.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return client_fail(reason, RESULT_INTERNAL, strerror(errno));
    if (limit_calls(*fd, deadline) && connect(*fd, &parsed.any, size) == 0)
        return RESULT_OK;
    const int error = errno;
    close(*fd);
    *fd = -1;
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTSOCK:
        return client_fail(reason, RESULT_NOT_FOUND, strerror(error));
    case EACCES:
    case EPERM:
        return client_fail(reason, RESULT_DENIED, strerror(error));
    case EAGAIN: /* a Unix socket */
        return client_fail(reason, RESULT_UNAVAILABLE,
                           "no answer in time: its queue of connections is "
                           "full");
    case EINPROGRESS: /* a TCP socket */
        return client_fail(reason, RESULT_UNAVAILABLE, "no answer in time");
    default:
        return client_fail(reason, RESULT_UNAVAILABLE, strerror(error));
    }
}

static enum result read_all(struct exchange *x, unsigned char *out, size_t size)
{
    if (size == 0)
        return RESULT_OK;
    const ssize_t n = limit_calls(x->fd, x->deadline)
                          ? recv(x->fd, out, size, MSG_WAITALL)
                          : 0;
    if (n == (ssize_t)size)
        return RESULT_OK;
    if ((n < 0 && errno == EAGAIN) || clock_monotonic_ms() >= x->deadline)
        return client_fail(x->reason, RESULT_UNAVAILABLE, "no answer in time");
    return client_fail(x->reason, RESULT_UNAVAILABLE,
                       n < 0 ? strerror(errno)
                             : "the connection was closed before the answer");
}

/* ---- Records --------------------------------------------------------- */

/* A name-value pair; a length above 127 takes four bytes (section 3.4). */
static void add_pair(struct buf *out, const char *name, const char *value)
{
    const size_t len = strlen(value);
    buf_add_char(out, (char)strlen(name));
    if (len > 127) {
        const char high[] = {(char)(0x80 | (len >> 24 & 0x7f)),
                             (char)(len >> 16 & 0xff), (char)(len >> 8 & 0xff)};
        buf_add(out, high, sizeof(high));
    }
    buf_add_char(out, (char)(len & 0xff));
    buf_add_str(out, name);
    buf_add(out, value, len);
}

/* False: it is too large. */
static bool add_request(struct buf *out, const char *method, const char *uri)
{
    static const char begin[8] = {0, FCGI_RESPONDER};
    struct buf params;
    buf_init(&params, REQUEST_MAX);
    add_pair(&params, "GATEWAY_INTERFACE", "CGI/1.1");
    add_pair(&params, "SERVER_PROTOCOL", "HTTP/1.1");
    add_pair(&params, "REQUEST_METHOD", method);
    add_pair(&params, "REQUEST_URI", uri);
    add_pair(&params, "REMOTE_ADDR", "127.0.0.1");
    add_pair(&params, "HTTP_USER_AGENT", "curt-doctor");
    fcgi_add_record(out, FCGI_BEGIN_REQUEST, 1, begin, sizeof(begin));
    fcgi_add_record(out, FCGI_PARAMS, 1, params.data, params.len);
    fcgi_add_record(out, FCGI_PARAMS, 1, NULL, 0);
    fcgi_add_record(out, FCGI_STDIN, 1, NULL, 0);
    const bool whole = !buf_failed(&params) && !buf_failed(out);
    buf_free(&params);
    return whole;
}

/* Reads records up to the end of the request. */
static enum result read_answer(struct exchange *x, struct buf *answer)
{
    unsigned char header[FCGI_HEADER], content[UINT16_MAX + UINT8_MAX];
    for (;;) {
        enum result r = read_all(x, header, sizeof(header));
        if (r != RESULT_OK)
            return r;
        const int type = header[1];
        if (header[0] != FCGI_VERSION || (header[2] << 8 | header[3]) != 1 ||
            (type != FCGI_STDOUT && type != FCGI_STDERR &&
             type != FCGI_END_REQUEST))
            return client_fail(x->reason, RESULT_CORRUPT,
                               "what answers does not speak FastCGI");
        const size_t len = (size_t)(header[4] << 8 | header[5]);
        r = read_all(x, content, len + header[6]);
        if (r != RESULT_OK || type == FCGI_END_REQUEST)
            return r;
        if (type == FCGI_STDOUT)
            buf_add(answer, content, len);
        if (buf_failed(answer))
            return client_fail(x->reason, RESULT_CORRUPT,
                               "the answer is too large");
    }
}

enum result fcgi_client_ask(int fd, const char *method, const char *uri,
                            int64_t deadline, struct buf *answer,
                            struct buf *reason)
{
    struct exchange x = {.fd = fd, .deadline = deadline, .reason = reason};
    struct buf request;
    enum result r = RESULT_OK;
    buf_init(&request, REQUEST_MAX + 64);
    if (!add_request(&request, method, uri))
        r = client_fail(reason, RESULT_INVALID, "the request is too large");
    else if (!limit_calls(fd, deadline) ||
             send(fd, request.data, request.len, MSG_NOSIGNAL) !=
                 (ssize_t)request.len)
        r = client_fail(reason, RESULT_UNAVAILABLE, strerror(errno));
    if (r == RESULT_OK)
        r = read_answer(&x, answer);
    close(fd);
    buf_free(&request);
    return r;
}

/* ---- The CGI response ------------------------------------------------ */

char *fcgi_client_field(const struct buf *answer, const char *name)
{
    const size_t len = strlen(name);
    const char *line = answer->data;
    for (;;) {
        const size_t line_len = strcspn(line, "\r\n");
        if (line_len == 0)
            return NULL;
        if (line_len > len && strncasecmp(line, name, len) == 0 &&
            line[len] == ':') {
            const size_t skip = len + 1 + strspn(line + len + 1, " \t");
            return mem_dup_bytes(line + skip,
                                 skip < line_len ? line_len - skip : 0);
        }
        line += line_len;
        line += *line == '\r';
        line += *line == '\n';
    }
}

int fcgi_client_status(const struct buf *answer)
{
    uint64_t status = 200;
    char *field = fcgi_client_field(answer, "Status");
    if (field == NULL)
        return strchr(answer->data, ':') != NULL ? 200 : 0;
    field[strcspn(field, " ")] = '\0';
    if (!num_parse(field, 999, &status))
        status = 0;
    free(field);
    return (int)status;
}
