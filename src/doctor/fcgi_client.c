#include "doctor/fcgi_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/sockname.h"
#include "http/fcgi_record.h"

#define REQUEST_MAX 16384

/* The time that is left limits the next call on the socket. */
static bool limit_calls(int fd, int64_t deadline)
{
    const int64_t left = deadline - clock_monotonic_ms();
    const struct timeval limit = {left / 1000, left % 1000 * 1000};
    errno = ETIMEDOUT;
    return left > 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ==
               0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
}

/* What errno means for a call with a limit. */
static const char *call_error(void)
{
    return errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT
               ? "no answer in time"
               : strerror(errno);
}

static enum result client_connect(const struct sockaddr_storage *address,
                                  socklen_t size, int64_t deadline, int *fd,
                                  const char **reason)
{
    *fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && limit_calls(*fd, deadline) &&
        connect(*fd, (const struct sockaddr *)address, size) == 0)
        return RESULT_OK;
    *reason = call_error();
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTSOCK)
        return RESULT_NOT_FOUND;
    if (errno == EACCES || errno == EPERM)
        return RESULT_DENIED;
    if (errno == EAGAIN) /* a Unix socket */
        *reason = "no answer in time: its queue of connections is full";
    return RESULT_UNAVAILABLE;
}

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

/* Takes the records that raw has from *pos on. RESULT_OK: the request ended.
 * RESULT_UNAVAILABLE: not yet. RESULT_CORRUPT: not FastCGI. */
static enum result take_records(const struct buf *raw, size_t *pos,
                                struct buf *answer)
{
    while (raw->len - *pos >= FCGI_HEADER) {
        const unsigned char *h = (const unsigned char *)raw->data + *pos;
        const int type = h[1];
        const size_t content = (size_t)(h[4] << 8 | h[5]);
        if (h[0] != FCGI_VERSION || (h[2] << 8 | h[3]) != 1 ||
            (type != FCGI_STDOUT && type != FCGI_STDERR &&
             type != FCGI_END_REQUEST))
            return RESULT_CORRUPT;
        if (raw->len - *pos < FCGI_HEADER + content + h[6])
            break;
        if (type == FCGI_END_REQUEST)
            return RESULT_OK;
        if (type == FCGI_STDOUT)
            buf_add(answer, h + FCGI_HEADER, content);
        *pos += FCGI_HEADER + content + h[6];
    }
    return RESULT_UNAVAILABLE;
}

/* Sends the request over fd and reads records up to its end. */
static enum result client_exchange(int fd, const struct buf *request,
                                   int64_t deadline, struct buf *answer,
                                   const char **reason)
{
    enum result r = RESULT_UNAVAILABLE;
    struct buf raw;
    char piece[4096];
    size_t pos = 0;
    ssize_t n = -1;
    buf_init(&raw, 2 * FCGI_CLIENT_ANSWER_MAX);
    if (limit_calls(fd, deadline))
        n = send(fd, request->data, request->len, MSG_NOSIGNAL);
    while (r == RESULT_UNAVAILABLE && n > 0) {
        n = limit_calls(fd, deadline) ? recv(fd, piece, sizeof(piece), 0) : -1;
        if (n > 0) {
            buf_add(&raw, piece, (size_t)n);
            r = take_records(&raw, &pos, answer);
        }
        if (buf_failed(&raw) || buf_failed(answer))
            r = RESULT_CORRUPT;
    }
    if (r == RESULT_CORRUPT)
        *reason = "what answers does not speak FastCGI";
    else if (r != RESULT_OK)
        *reason = n == 0 ? "the connection was closed before the answer"
                         : call_error();
    buf_free(&raw);
    return r;
}

enum result fcgi_client_send(const char *address, const char *method,
                             const char *uri, int64_t deadline,
                             struct buf *answer, const char **reason)
{
    struct sockaddr_storage parsed;
    struct buf request;
    int fd = -1;
    const socklen_t size = sockname_parse(address, &parsed);
    enum result r = RESULT_INVALID;
    buf_init(&request, REQUEST_MAX + 64);
    *reason = "";
    if (size == 0)
        *reason = "not the address of a socket";
    else if (!add_request(&request, method, uri))
        *reason = "the request is too large";
    else
        r = client_connect(&parsed, size, deadline, &fd, reason);
    if (r == RESULT_OK)
        r = client_exchange(fd, &request, deadline, answer, reason);
    if (fd >= 0)
        close(fd);
    buf_free(&request);
    return r;
}

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
    if (!text_number(field, 999, &status))
        status = 0;
    free(field);
    return (int)status;
}
