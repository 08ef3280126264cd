#include "fcgi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "num.h"
#include "query.h"

/* Longest REQUEST_URI that is looked at; web servers allow 8 KiB or so. */
#define URI_MAX 16384

struct fcgi {
    FCGX_Request request;
    bool tcp;
    const char *allowed;        /* FCGI_WEB_SERVER_ADDRS, or NULL for any */
    const char *content_length; /* of the request under way; or NULL */
    struct buf path;
    struct buf body;
};

/*
 * Stopping without a lost request and without a window.
 *
 * A signal that comes between the look at a flag and the wait for a request
 * would be noticed one request too late. So fcgi_stop() also puts /dev/null in
 * place of the descriptor that is waited on: the wait, begun, restarted by
 * SA_RESTART or still to begin, then fails or returns at once. A request that
 * was already accepted has a descriptor of its own, and reads on.
 */
static volatile sig_atomic_t stopping;
static volatile sig_atomic_t wait_broken;
static volatile sig_atomic_t waiting_on = -1;
static volatile sig_atomic_t null_fd = -1;

void fcgi_stop(void)
{
    int saved = errno;
    stopping = 1;
    if (waiting_on >= 0) {
        wait_broken = 1;
        dup2(null_fd, waiting_on);
    }
    errno = saved;
}

bool fcgi_socket_ok(void)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(FCGI_SOCKET, SOL_SOCKET, SO_ACCEPTCONN, &listening,
                      &len) == 0 &&
           listening != 0;
}

struct fcgi *fcgi_new(void)
{
    struct fcgi *f = mem_zalloc(sizeof(*f));
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int domain = AF_UNIX;
    socklen_t len = sizeof(domain);
    getsockopt(FCGI_SOCKET, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    f->tcp = domain != AF_UNIX;
    f->allowed = getenv("FCGI_WEB_SERVER_ADDRS");
    buf_init(&f->path, URI_MAX);
    buf_init(&f->body, 0);
    FCGX_Init();
    /* libfcgi must not accept by itself: accept_connection() does. */
    FCGX_InitRequest(&f->request, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    return f;
}

void fcgi_free(struct fcgi *f)
{
    if (f == NULL)
        return;
    FCGX_Free(&f->request, 1);
    buf_free(&f->path);
    buf_free(&f->body);
    free(f);
}

/* Whether the peer may connect: section 3.2 of the specification, for sockets
 * of the Internet domain alone. */
static bool is_allowed(const struct fcgi *f, const struct sockaddr_in *peer)
{
    char text[INET_ADDRSTRLEN];
    if (!f->tcp || f->allowed == NULL)
        return true;
    if (peer->sin_family != AF_INET ||
        inet_ntop(AF_INET, &peer->sin_addr, text, sizeof(text)) == NULL)
        return false;
    const size_t len = strlen(text);
    for (const char *s = f->allowed; *s != '\0';) {
        size_t n = strcspn(s, ", ");
        if (n == len && memcmp(s, text, len) == 0)
            return true;
        s += n + strspn(s + n, ", ");
    }
    log_warning("%s is not in FCGI_WEB_SERVER_ADDRS: connection refused", text);
    return false;
}

/* What accept(2) may say of one connection that does not concern the next. */
static bool is_passing_error(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO ||
           error == EAGAIN || error == EMFILE || error == ENFILE ||
           error == ENOBUFS || error == ENOMEM || error == EPERM;
}

/* Waits for a connection; -1 when there is none to be had any more. */
static int accept_connection(const struct fcgi *f)
{
    for (;;) {
        struct sockaddr_in peer = {.sin_family = AF_UNSPEC};
        socklen_t len = sizeof(peer);
        waiting_on = FCGI_SOCKET;
        int fd = stopping ? -1
                          : accept4(FCGI_SOCKET, (struct sockaddr *)&peer, &len,
                                    SOCK_CLOEXEC);
        int error = errno;
        waiting_on = -1;
        if (fd >= 0 && is_allowed(f, &peer)) {
            int on = 1;
            if (f->tcp)
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        } else if (stopping) {
            return -1;
        } else if (!is_passing_error(error)) {
            log_error("the listening socket failed: %s", strerror(error));
            return -1;
        } else if (error != EINTR && error != ECONNABORTED) {
            log_warning("a connection could not be accepted: %s",
                        strerror(error));
            poll(NULL, 0, 100);
        }
    }
}

/* Waits for the next request on a connection that the web server keeps. False:
 * curt is to stop, and the connection is given up while nothing is on it. */
static bool wait_on_kept(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    waiting_on = fd;
    bool ready = false;
    while (!stopping && !ready)
        ready = poll(&pfd, 1, -1) > 0;
    waiting_on = -1;
    return ready && !wait_broken;
}

/* Gets libfcgi a connection to read from and has it read the next request's
 * parameters. libfcgi accepts by itself, too, but waits for data behind a
 * poll(2) that any signal interrupts, and then drops the connection: a
 * request lost at each reload. Its structure's members are part of its fixed
 * interface (libfcgi.so.0). */
static bool read_parameters(struct fcgi *f)
{
    FCGX_Request *request = &f->request;
    for (;;) {
        if (request->ipcFd < 0) {
            request->ipcFd = accept_connection(f);
            if (request->ipcFd < 0)
                return false;
            request->keepConnection = 1; /* not closed by FCGX_Accept_r */
        } else if (!wait_on_kept(request->ipcFd)) {
            FCGX_Free(request, 1);
            return false;
        }
        if (FCGX_Accept_r(request) == 0)
            return true;
        /* The peer closed or spoke no FastCGI: libfcgi closed, too. */
    }
}

/* Takes what curt needs out of the parameters, in one pass over them.
 * Returns CONTENT_LENGTH, or NULL. */
static const char *take_parameters(char **envp, struct http_request *req,
                                   const char **trace_id)
{
    const char *content_length = NULL;
    const struct {
        const char *name;
        size_t len;
        const char **value;
    } wanted[] = {
        {"REQUEST_URI=", 12, &req->uri},
        {"REQUEST_METHOD=", 15, &req->method_name},
        {"REMOTE_ADDR=", 12, &req->remote_addr},
        {"HTTP_ACCEPT=", 12, &req->accept},
        {"HTTP_USER_AGENT=", 16, &req->user_agent},
        {"HTTP_X_AMZN_TRACE_ID=", 21, trace_id},
        {"HTTP_SEC_FETCH_SITE=", 20, &req->sec_fetch_site},
        {"HTTP_ORIGIN=", 12, &req->origin},
        {"CONTENT_TYPE=", 13, &req->content_type},
        {"CONTENT_LENGTH=", 15, &content_length},
    };
    for (; *envp != NULL; envp++) {
        /* A web server sends some twenty that curt does not look at. */
        if (**envp != 'C' && **envp != 'H' && **envp != 'R')
            continue;
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (**envp == wanted[i].name[0] &&
                strncmp(*envp, wanted[i].name, wanted[i].len) == 0) {
                *wanted[i].value = *envp + wanted[i].len;
                break;
            }
        }
    }
    return content_length;
}

static enum http_method read_method(const char *name)
{
    if (strcmp(name, "GET") == 0)
        return HTTP_GET;
    if (strcmp(name, "HEAD") == 0)
        return HTTP_HEAD;
    return strcmp(name, "POST") == 0 ? HTTP_POST : HTTP_OTHER;
}

/* REQUEST_URI to path. A server may pass on the absolute form (RFC 9112,
 * section 3.2.2): scheme and host are dropped. */
static void read_path(struct fcgi *f, struct http_request *req)
{
    const char *uri = req->uri != NULL ? req->uri : "";
    if (strncmp(uri, "http://", 7) == 0 || strncmp(uri, "https://", 8) == 0) {
        const char *authority = strstr(uri, "://") + 3;
        uri = authority + strcspn(authority, "/?#");
    }
    buf_reset(&f->path);
    query_percent_decode(&f->path, uri, strcspn(uri, "?#"));
    if (buf_failed(&f->path))
        buf_reset(&f->path);
    req->path = f->path.data;
    req->path_len = f->path.len;
}

/* Reads standard input to its end, as long as the limit allows. */
void fcgi_read_body(struct fcgi *f, size_t max, struct http_request *req)
{
    uint64_t announced = 0;
    bool known = f->content_length != NULL &&
                 num_parse(f->content_length, UINT64_MAX, &announced);
    buf_reset(&f->body);
    f->body.max = max;
    req->body_too_large = announced > max;
    while (!req->body_too_large) {
        char piece[8192];
        int n = FCGX_GetStr(piece, sizeof(piece), f->request.in);
        if (n <= 0)
            break;
        buf_add(&f->body, piece, (size_t)n);
        req->body_too_large = buf_failed(&f->body);
    }
    req->body_broken =
        !req->body_too_large && (FCGX_GetError(f->request.in) != 0 ||
                                 (known && f->body.len < announced));
    if (req->body_too_large || req->body_broken)
        buf_reset(&f->body);
    req->body = f->body.data;
    req->body_len = f->body.len;
}

bool fcgi_accept(struct fcgi *f, struct trace_source *traces,
                 struct http_request *req)
{
    if (!read_parameters(f))
        return false;
    *req = (struct http_request){.method_name = "", .body = ""};
    const char *trace_id = NULL;
    f->content_length = take_parameters(f->request.envp, req, &trace_id);
    req->method = read_method(req->method_name);
    trace_choose(traces, trace_id, req->trace_id);
    read_path(f, req);
    return true;
}

void fcgi_finish(struct fcgi *f, const struct http_request *req,
                 const struct http_response *res)
{
    FCGX_Stream *out = f->request.out;
    const char status[] = {(char)('0' + res->status / 100),
                           (char)('0' + res->status / 10 % 10),
                           (char)('0' + res->status % 10), ' '};
    FCGX_PutStr("Status: ", 8, out);
    FCGX_PutStr(status, sizeof(status), out);
    FCGX_PutS(http_reason(res->status), out);
    FCGX_PutStr("\r\n", 2, out);
    FCGX_PutStr(res->head.data, (int)res->head.len, out);
    FCGX_PutStr("\r\n", 2, out);
    if (req->method != HTTP_HEAD)
        FCGX_PutStr(res->body.data, (int)res->body.len, out);
    /* With nothing left to read the connection can be closed at once. Else
     * libfcgi shuts its side down and reads on until the peer closes, because
     * a close with unread input makes the kernel throw the answer away. */
    if (!req->body_too_large)
        FCGX_Detach(&f->request);
    FCGX_Finish_r(&f->request);
}
