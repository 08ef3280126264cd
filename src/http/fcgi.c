/*
 * The life of a connection: accept_conn() takes it; read_chunk() reads,
 * feed_conn() makes a request of the bytes, and fcgi_accept() hands that out.
 * fcgi_finish() sends the answer. settle_conn() then closes the connection, or
 * has epoll wait for its next event. give_up() ends those that take too long.
 */
#include "http/fcgi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/percent.h"
#include "base/text.h"
#include "http/fcgi_record.h"

/* Longest REQUEST_URI that is looked at; web servers allow 8 KiB or so. */
#define URI_MAX 16384

/* How many connections a worker has, if it may open twice as many files, and
 * the memory that their requests and answers may take together, in bytes. Above
 * that one is given up. */
#define CONNS_MAX  512
#define MEMORY_MAX (1u << 25)

/* How long the rest of a request that was answered early is read, in
 * milliseconds: a close with unread input makes the kernel throw the answer
 * away. */
#define LINGER 2000

/* How much is read at a time. */
#define CHUNK 65536

/* What a connection waits for. When there are too many, they are given up in
 * this order. */
enum conn_state {
    CONN_IDLE,     /* another request, which may never come: it is kept */
    CONN_ANSWERED, /* the answer to be sent, and the request to end */
    CONN_ARRIVING, /* the first request, or the rest of one */
    CONN_USELESS   /* nothing: it is closed */
};

/* A connection, from its accept to its close. */
struct conn {
    int fd; /* -1: the place is free */
    enum conn_state state;
    struct fcgi_reader reader;
    struct http_request req;
    struct buf path;
    bool eof;          /* the web server will send nothing more */
    bool secret;       /* its parameters or body may have an API key */
    uint64_t length;   /* CONTENT_LENGTH; 0 without one */
    size_t sent;       /* of reader.out */
    size_t memory;     /* what it has of fcgi.memory */
    uint32_t events;   /* what epoll waits for; 0: not in its set */
    uint64_t wait;     /* number of its wait: a longer wait has a lower one */
    int64_t deadline;  /* when it is given up, clock_monotonic_ms(); 0: not set
                        * yet, or never */
    struct conn *next; /* of the free ones */
};

struct fcgi {
    const struct conf *conf;
    bool (*takes_body)(const struct http_request *req);
    struct trace_id_source traces;
    bool tcp;
    bool stopping;
    bool failed;
    const char *allowed; /* FCGI_WEB_SERVER_ADDRS, or NULL for any */
    int epoll;
    struct conn *current; /* the one whose bytes are in chunk */
    const char *at;       /* what is left of chunk */
    size_t left;
    size_t filled; /* of chunk, since it was wiped last */
    struct conn *conns;
    struct conn *free;
    size_t made; /* places that were in use at some time */
    size_t used; /* connections */
    size_t most;
    size_t memory;
    uint64_t waits;        /* that have begun */
    int64_t next_deadline; /* no connection's is earlier */
    struct buf answer;
    char chunk[CHUNK];
};

/* The event descriptor also ends a wait that begins after the signal. */
static volatile sig_atomic_t stop_wanted;
static volatile sig_atomic_t pause_wanted;
static volatile sig_atomic_t wake_fd = -1;

void fcgi_interrupt(bool stop)
{
    const int saved = errno;
    if (stop)
        stop_wanted = 1;
    else
        pause_wanted = 1;
    if (wake_fd >= 0)
        eventfd_write(wake_fd, 1);
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

/* data: the connection, f for the socket, NULL for the descriptor that wakes.
 */
static bool watch_fd(struct fcgi *f, int operation, int fd, uint32_t events,
                     void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    return epoll_ctl(f->epoll, operation, fd, &event) == 0;
}

/* Waits for connections, in the last place of all workers that do: one
 * connection wakes one worker, the first that has nothing to do. */
static bool listen_last(struct fcgi *f)
{
    watch_fd(f, EPOLL_CTL_DEL, FCGI_SOCKET, 0, NULL);
    return watch_fd(f, EPOLL_CTL_ADD, FCGI_SOCKET, EPOLLIN | EPOLLEXCLUSIVE, f);
}

struct fcgi *fcgi_new(const struct conf *conf,
                      bool (*takes_body)(const struct http_request *req))
{
    struct fcgi *f = mem_zalloc(sizeof(*f));
    struct rlimit files = {.rlim_cur = RLIM_INFINITY};
    int domain = AF_UNIX;
    socklen_t len = sizeof(domain);
    f->conf = conf;
    f->takes_body = takes_body;
    getsockopt(FCGI_SOCKET, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    f->tcp = domain != AF_UNIX;
    f->allowed = getenv("FCGI_WEB_SERVER_ADDRS");
    getrlimit(RLIMIT_NOFILE, &files);
    f->most = files.rlim_cur / 2 < CONNS_MAX ? files.rlim_cur / 2 : CONNS_MAX;
    f->conns = mem_zalloc(CONNS_MAX * sizeof(*f->conns));
    f->next_deadline = INT64_MAX;
    buf_init(&f->answer, HTTP_HEAD_MAX + HTTP_BODY_MAX + 128);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int flags = fcntl(FCGI_SOCKET, F_GETFL);
    if (f->epoll < 0 || wake_fd < 0 || flags < 0 ||
        fcntl(FCGI_SOCKET, F_SETFL, flags | O_NONBLOCK) < 0 ||
        !watch_fd(f, EPOLL_CTL_ADD, wake_fd, EPOLLIN, NULL) ||
        !listen_last(f)) {
        log_error("cannot wait for connections: %s", strerror(errno));
        exit(EX_OSERR);
    }
    return f;
}

/* ---- Accepting -------------------------------------------------------- */

/* Whether the peer may connect: section 3.2 of the specification, for sockets
 * of the Internet domain only. */
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

/* The connection of a descriptor that was accepted. */
static struct conn *open_conn(struct fcgi *f, int fd)
{
    struct conn *c = f->free;
    if (c != NULL) {
        f->free = c->next;
    } else {
        c = &f->conns[f->made++];
        fcgi_reader_init(&c->reader);
        buf_init(&c->path, URI_MAX);
    }
    f->used++;
    c->fd = fd;
    c->state = CONN_ARRIVING;
    c->deadline = 0;
    c->eof = false;
    c->secret = true;
    return c;
}

/* Takes a connection; NULL: another worker took it, or the socket failed. */
static struct conn *accept_conn(struct fcgi *f)
{
    struct sockaddr_in peer = {.sin_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);
    int on = 1;
    int fd = accept4(FCGI_SOCKET, (struct sockaddr *)&peer, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        if (!is_allowed(f, &peer)) {
            close(fd);
            return NULL;
        }
        if (f->tcp)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return open_conn(f, fd);
    }
    switch (errno) {
    case EAGAIN: /* another worker took it */
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
        return NULL;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        log_warning("cannot accept a connection: %s", strerror(errno));
        poll(NULL, 0, 100);
        return NULL;
    default:
        log_error("the listening socket failed: %s", strerror(errno));
        f->failed = true;
        return NULL;
    }
}

/* ---- The head of a request -------------------------------------------- */

/* REQUEST_URI to path. A server may pass on the absolute form (RFC 9112,
 * section 3.2.2): scheme and host are dropped. */
static void read_path(struct buf *path, struct http_request *req)
{
    const char *uri = req->uri != NULL ? req->uri : "";
    if (strncmp(uri, "http://", 7) == 0 || strncmp(uri, "https://", 8) == 0) {
        const char *authority = strstr(uri, "://") + 3;
        uri = authority + strcspn(authority, "/?#");
    }
    buf_reset(path);
    percent_decode(path, uri, strcspn(uri, "?#"));
    if (buf_failed(path))
        buf_reset(path);
    req->path = path->data;
    req->path_len = path->len;
    req->query = uri + strcspn(uri, "?#");
    req->query += *req->query == '?';
    req->query_len = strcspn(req->query, "#");
}

/* Takes what curt needs out of the parameters, in one pass over them, and puts
 * a NUL after each value. False: their lengths are wrong. */
static bool take_parameters(struct buf *params, struct http_request *req,
                            const char **trace_id, const char **content_length)
{
    const struct {
        const char *name;
        size_t len;
        const char **value;
    } wanted[] = {
        {"REQUEST_URI", 11, &req->uri},
        {"REQUEST_METHOD", 14, &req->method_name},
        {"REMOTE_ADDR", 11, &req->remote_addr},
        {"HTTP_ACCEPT", 11, &req->accept},
        {"HTTP_ACCEPT_LANGUAGE", 20, &req->accept_language},
        {"HTTP_IF_NONE_MATCH", 18, &req->if_none_match},
        {"HTTP_IDEMPOTENCY_KEY", 20, &req->idempotency_key},
        {"HTTP_USER_AGENT", 15, &req->user_agent},
        {"HTTP_X_AMZN_TRACE_ID", 20, trace_id},
        {"HTTP_SEC_FETCH_SITE", 19, &req->sec_fetch_site},
        {"HTTP_ORIGIN", 11, &req->origin},
        {"HTTP_X_API_KEY", 14, &req->api_key},
        {"HTTP_AUTHORIZATION", 18, &req->authorization},
        {"CONTENT_TYPE", 12, &req->content_type},
        {"CONTENT_LENGTH", 14, content_length},
    };
    const char *at = params->data;
    size_t left = params->len;
    char *end = NULL;
    struct fcgi_pair pair;
    while (fcgi_next_pair(&at, &left, &pair)) {
        /* The NUL takes the place of the next pair's length. */
        if (end != NULL)
            *end = '\0';
        end = params->data + (pair.value - params->data) + pair.value_len;
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (pair.name_len == wanted[i].len &&
                memcmp(pair.name, wanted[i].name, wanted[i].len) == 0) {
                *wanted[i].value = pair.value;
                break;
            }
        }
    }
    return left == 0;
}

/* The parameters are complete: makes the request, and decides whether it has to
 * wait for a body. False: their lengths are wrong. */
static bool read_head(struct fcgi *f, struct conn *c)
{
    struct http_request *req = &c->req;
    const char *trace_id = NULL, *content_length = NULL;
    *req = (struct http_request){.method_name = "", .body = ""};
    if (!take_parameters(&c->reader.params, req, &trace_id, &content_length))
        return false;
    req->method = strcmp(req->method_name, "GET") == 0    ? HTTP_GET
                  : strcmp(req->method_name, "HEAD") == 0 ? HTTP_HEAD
                  : strcmp(req->method_name, "POST") == 0 ? HTTP_POST
                                                          : HTTP_OTHER;
    trace_id_choose(&f->traces, trace_id, req->trace_id);
    read_path(&c->path, req);
    c->reader.body.max = f->conf->max_body;
    c->length = 0;
    if (content_length != NULL)
        text_number(content_length, UINT64_MAX, &c->length);
    const bool takes_body = f->takes_body(req);
    if (takes_body && c->length > f->conf->max_body)
        req->body_fault = 413;
    c->reader.discard = !takes_body || req->body_fault != 0;
    c->secret =
        takes_body || req->api_key != NULL || req->authorization != NULL;
    return true;
}

/* ---- Reading and writing ---------------------------------------------- */

/* Fills the chunk from the connection, which becomes the current one. */
static void read_chunk(struct fcgi *f, struct conn *c)
{
    f->current = c;
    f->at = f->chunk;
    f->left = 0;
    ssize_t n = read(c->fd, f->chunk, sizeof(f->chunk));
    if (n > 0)
        f->left = (size_t)n;
    if (f->filled < f->left)
        f->filled = f->left;
    if (n == 0)
        c->eof = true;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        c->state = CONN_USELESS;
}

/* Sends what the web server takes at once. */
static void send_out(struct conn *c)
{
    struct buf *out = &c->reader.out;
    if (buf_failed(out))
        c->state = CONN_USELESS;
    while (c->sent < out->len && c->state != CONN_USELESS) {
        ssize_t n =
            send(c->fd, out->data + c->sent, out->len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EINTR)
            c->state = CONN_USELESS;
        c->sent += n > 0 ? (size_t)n : 0;
    }
    buf_reset(out);
    c->sent = 0;
}

/* The body is complete, or is not waited for any longer: fault is why. */
static void end_body(struct conn *c, int fault)
{
    struct http_request *req = &c->req;
    const struct buf *body = &c->reader.body;
    if (buf_failed(body))
        fault = 413;
    else if (fault == 0 && body->len < c->length)
        fault = 400;
    req->body_fault = fault;
    if (fault == 0) {
        req->body = body->data;
        req->body_len = body->len;
    }
    c->reader.discard = true;
}

/* Overwrites a request that may have an API key: its parameters, its body, and
 * what was read with it, but not the beginning of the next one. */
static void wipe_request(struct fcgi *f, struct conn *c)
{
    buf_wipe(&c->reader.params);
    buf_wipe(&c->reader.body);
    if (f->at == NULL)
        return;
    const size_t done = (size_t)(f->at - f->chunk), kept = done + f->left;
    explicit_bzero(f->chunk, done);
    explicit_bzero(f->chunk + kept, f->filled - kept);
    f->filled = kept;
}

/* Makes the connection ready for another request. */
static void reset_conn(struct fcgi *f, struct conn *c)
{
    if (c->secret)
        wipe_request(f, c);
    c->secret = true; /* until the head is read */
    fcgi_reader_next(&c->reader);
    if (c->path.cap > 1024)
        buf_free(&c->path);
    c->state = CONN_IDLE;
    c->deadline = 0;
}

/* Passes what was read to the current connection. True: its request can be
 * answered now. */
static bool feed_conn(struct fcgi *f, struct conn *c)
{
    struct fcgi_reader *r = &c->reader;
    while (f->left > 0 && c->state != CONN_USELESS) {
        if (r->state == FCGI_WHOLE) {
            if (c->state == CONN_ARRIVING)
                return true;
            if (!r->keep)
                break;
            /* The next request. The last answer must be on its way. */
            send_out(c);
            if (c->state == CONN_USELESS)
                break;
            const bool unsent = c->sent < r->out.len;
            reset_conn(f, c);
            if (unsent)
                c->state = CONN_USELESS;
            continue;
        }
        const enum fcgi_event event = fcgi_read(r, &f->at, &f->left);
        if (c->state == CONN_IDLE && r->state != FCGI_NONE)
            c->state = CONN_ARRIVING;
        if (event == FCGI_BROKEN || (event == FCGI_HEAD && !read_head(f, c))) {
            log_warning("request refused: not FastCGI, or its parameters are "
                        "too long");
            c->state = CONN_USELESS;
        } else if (event == FCGI_ABORTED) {
            c->state = CONN_ANSWERED;
        } else if (!r->discard && (event == FCGI_END || buf_failed(&r->body))) {
            end_body(c, 0);
        }
    }
    return r->discard && c->state == CONN_ARRIVING;
}

/* ---- Between two events ------------------------------------------------ */

/* Has epoll wait for events of a connection. The other workers get the next
 * one. */
static bool expect_event(struct fcgi *f, struct conn *c, uint32_t events)
{
    const bool added = c->events == 0;
    if (events == c->events)
        return true;
    if (!watch_fd(f, added ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, events, c)) {
        log_warning("cannot wait for a connection: %s", strerror(errno));
        return false;
    }
    c->events = events;
    if (added && !f->stopping && !listen_last(f)) {
        log_error("the listening socket failed: %s", strerror(errno));
        f->failed = true;
    }
    return true;
}

static void close_conn(struct fcgi *f, struct conn *c)
{
    /* Not left to close(): a child that is about to execute the janitor or a
     * credential_process may also hold the descriptor. */
    if (c->events != 0)
        watch_fd(f, EPOLL_CTL_DEL, c->fd, 0, NULL);
    close(c->fd);
    f->used--;
    f->memory -= c->memory;
    buf_reset(&c->reader.out);
    reset_conn(f, c);
    c->reader.header_len = 0;
    c->sent = c->memory = 0;
    c->events = 0;
    c->fd = -1;
    c->next = f->free;
    f->free = c;
}

/* Nothing more is to be done with the connection now: closes it, or has epoll
 * wait for it. */
static void settle_conn(struct fcgi *f, struct conn *c)
{
    struct fcgi_reader *r = &c->reader;
    f->current = NULL;
    f->left = 0;
    send_out(c);
    const bool unsent = c->sent < r->out.len;
    const uint64_t timeout = f->conf->request_timeout;
    if (c->state == CONN_ANSWERED && r->state == FCGI_WHOLE && !unsent) {
        if (!r->keep || f->stopping)
            c->state = CONN_USELESS;
        else
            reset_conn(f, c);
    }
    if (c->state == CONN_USELESS || (c->eof && !unsent)) {
        close_conn(f, c);
        return;
    }
    if (c->deadline == 0) {
        const bool idle = c->state == CONN_IDLE && r->header_len == 0;
        const bool lingers = c->state == CONN_ANSWERED && !unsent;
        c->wait = ++f->waits;
        if (!idle || f->stopping)
            c->deadline = clock_monotonic_ms() +
                          (lingers ? LINGER : 1000 * (int64_t)timeout);
    }
    if (c->deadline != 0 && c->deadline < f->next_deadline)
        f->next_deadline = c->deadline;
    f->memory -= c->memory;
    c->memory = fcgi_reader_memory(r) + c->path.cap;
    f->memory += c->memory;
    const uint32_t events =
        (c->eof ? 0 : EPOLLIN) | (unsent ? (uint32_t)EPOLLOUT : 0);
    if (!expect_event(f, c, events))
        close_conn(f, c);
}

/* ---- Giving up -------------------------------------------------------- */

/* The connection to give up first: by its state, then the longest wait. */
static struct conn *find_surplus(const struct fcgi *f)
{
    struct conn *found = NULL;
    for (size_t i = 0; i < f->made; i++) {
        struct conn *c = &f->conns[i];
        if (c->fd >= 0 && (found == NULL || c->state < found->state ||
                           (c->state == found->state && c->wait < found->wait)))
            found = c;
    }
    return found;
}

/* A connection past its deadline, or NULL. */
static struct conn *find_overdue(struct fcgi *f)
{
    if (f->next_deadline == INT64_MAX)
        return NULL;
    const int64_t now = clock_monotonic_ms();
    if (f->next_deadline > now)
        return NULL;
    struct conn *first = NULL;
    for (size_t i = 0; i < f->made; i++) {
        struct conn *c = &f->conns[i];
        if (c->fd >= 0 && c->deadline != 0 &&
            (first == NULL || c->deadline < first->deadline))
            first = c;
    }
    f->next_deadline = first != NULL ? first->deadline : INT64_MAX;
    return f->next_deadline <= now ? first : NULL;
}

/* Reads a last time from a connection that is to be given up. True: its request
 * can be answered, if only with the status that is the reason. */
static bool give_up(struct fcgi *f, struct conn *c, int status)
{
    const bool idle = c->state == CONN_IDLE;
    read_chunk(f, c);
    if (feed_conn(f, c))
        return true;
    if (idle && c->state == CONN_ARRIVING) {
        c->deadline = 0; /* a request came just before the end */
    } else if (c->state == CONN_ARRIVING && c->reader.state == FCGI_IN_BODY &&
               !c->eof) {
        end_body(c, status);
        return true;
    } else {
        c->state = CONN_USELESS;
    }
    settle_conn(f, c);
    return false;
}

/* ---- The next request, and its answer --------------------------------- */

/* Waits until something can be read or written, or the next deadline. NULL:
 * no connection has anything to do. */
static struct conn *wait_conn(struct fcgi *f)
{
    struct epoll_event event;
    eventfd_t count;
    int64_t timeout = -1;
    if (f->next_deadline != INT64_MAX) {
        timeout = f->next_deadline - clock_monotonic_ms();
        timeout = timeout < 0 ? 0 : timeout;
    }
    if (epoll_wait(f->epoll, &event, 1, (int)timeout) <= 0)
        return NULL;
    if (event.data.ptr == NULL)
        eventfd_read(wake_fd, &count);
    if (event.data.ptr != f)
        return event.data.ptr;
    /* Also where a stop came at the same time: it woke no other worker. */
    return pause_wanted ? NULL : accept_conn(f);
}

bool fcgi_accept(struct fcgi *f, const struct http_request **req)
{
    struct conn *c = f->current;
    *req = NULL;
    /* The end of an empty body has mostly come by now. */
    if (c != NULL && c->reader.state == FCGI_IN_BODY &&
        c->state != CONN_USELESS)
        read_chunk(f, c);
    for (;;) {
        if (c != NULL && feed_conn(f, c))
            break;
        if (c != NULL)
            settle_conn(f, c);
        if (f->failed)
            return false;
        if (pause_wanted) {
            pause_wanted = 0;
            return true;
        }
        if (stop_wanted && !f->stopping) {
            /* No new connection; kept ones are closed if nothing has come. */
            f->stopping = true;
            watch_fd(f, EPOLL_CTL_DEL, FCGI_SOCKET, 0, NULL);
            f->next_deadline = 0;
            for (size_t i = 0; i < f->made; i++)
                if (f->conns[i].deadline == 0)
                    f->conns[i].deadline = 1;
        }
        if (f->stopping && f->used == 0)
            return false;
        const bool full = f->used == f->most || f->memory > MEMORY_MAX;
        c = full ? find_surplus(f) : find_overdue(f);
        if (c == NULL) {
            c = wait_conn(f);
            if (c != NULL && !c->eof)
                read_chunk(f, c);
        } else if (give_up(f, c, full ? 503 : 408)) {
            break;
        } else {
            c = NULL; /* give_up() has settled it */
        }
    }
    *req = &c->req;
    return true;
}

void fcgi_finish(struct fcgi *f, const struct http_response *res)
{
    struct conn *c = f->current;
    struct buf *answer = &f->answer;
    /* That to an array may be longer than others. */
    answer->max = HTTP_HEAD_MAX + HTTP_BODY_MAX + 128 + res->body.len;
    c->reader.out.max = FCGI_OUT_MAX + res->body.len;
    buf_reset(answer);
    buf_add_str(answer, "Status: ");
    buf_add_num(answer, (uint64_t)res->status);
    buf_add_char(answer, ' ');
    buf_add_str(answer, http_reason(res->status));
    buf_add_str(answer, "\r\n");
    buf_add(answer, res->head.data, res->head.len);
    buf_add_str(answer, "\r\n");
    if (c->req.method != HTTP_HEAD)
        buf_add(answer, res->body.data, res->body.len);
    fcgi_add_answer(&c->reader.out, c->reader.id, answer->data, answer->len);
    c->state = CONN_ANSWERED;
    c->deadline = 0;
    /* Before the web server can open another connection because of it. */
    if (c->reader.keep && !f->stopping && !expect_event(f, c, EPOLLIN))
        c->state = CONN_USELESS;
    send_out(c);
}

void fcgi_free(struct fcgi *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->made; i++) {
        if (f->conns[i].fd >= 0)
            close_conn(f, &f->conns[i]);
        fcgi_reader_free(&f->conns[i].reader);
        buf_free(&f->conns[i].path);
    }
    const int wake = wake_fd;
    wake_fd = -1;
    close(wake);
    close(f->epoll);
    buf_free(&f->answer);
    free(f->conns);
    free(f);
}
