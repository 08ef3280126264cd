#include "doctor_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "fcgi_client.h"
#include "mem.h"
#include "pool.h"

/* How long the workers may take, in milliseconds. */
#define SOCKET_MS 5000

static void add_socket_fault(struct doctor *d, const char *address,
                             enum result r, const char *reason)
{
    enum report_level level = REPORT_FAIL;
    const char *advice;
    if (r == RESULT_NOT_FOUND && d->running) {
        /* With mod_fcgid each process has a socket of its own for a while. */
        level = REPORT_WARN;
        advice = "all is well where the web server starts curt.fcgi by itself "
                 "and \"redirect\" is ok; else start the pool again";
    } else if (r == RESULT_NOT_FOUND) {
        advice = "start the pool: nobody listens there any more";
    } else if (r == RESULT_DENIED) {
        level = REPORT_WARN;
        advice = "run curt doctor as root";
    } else if (r == RESULT_CORRUPT || r == RESULT_INVALID) {
        advice = "another program has taken the address: start the pool on one "
                 "of its own";
    } else {
        advice = "the workers are stuck, or too few: look at the log of "
                 "curt.fcgi, at -w, and at FCGI_WEB_SERVER_ADDRS";
    }
    report_add(d->report, level, "socket", advice, "%s: %s", address, reason);
}

/* One answer of a worker, as it goes from root's process to the user's. */
struct reply {
    enum result result;
    int status;
    int64_t ms;
    char location[1024];
    char allow[64];
    char reason[256];
};

/* What is asked: method and uri, cut to the size. */
struct question {
    char method[8];
    char uri[1024];
};

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from != NULL ? from : "");
}

static void ask_here(const struct doctor *d, const struct question *question,
                     struct reply *reply)
{
    struct buf answer, reason;
    const int64_t begin = clock_monotonic_ms();
    char *address = pool_address(d->conf);
    memset(reply, 0, sizeof(*reply));
    buf_init(&reason, sizeof(reply->reason));
    buf_init(&answer, FCGI_CLIENT_ANSWER_MAX);
    reply->result =
        fcgi_client_ask(address != NULL ? address : "", question->method,
                        question->uri, begin + SOCKET_MS, &answer, &reason);
    reply->ms = clock_monotonic_ms() - begin;
    copy(reply->reason, sizeof(reply->reason), reason.data);
    if (reply->result == RESULT_OK) {
        char *location = fcgi_client_field(&answer, "Location");
        char *allow = fcgi_client_field(&answer, "Allow");
        reply->status = fcgi_client_status(&answer);
        copy(reply->location, sizeof(reply->location), location);
        copy(reply->allow, sizeof(reply->allow), allow);
        free(location);
        free(allow);
    }
    buf_free(&answer);
    buf_free(&reason);
    free(address);
}

/* Whether a question is one of ask(): the user's process must not have root's
 * write anything else to a socket that is root's alone. */
static bool is_fair(const struct question *question)
{
    const char *method = question->method;
    for (const char *c = question->uri; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

void doctor_serve_socket(const struct doctor *d, int user)
{
    struct question question;
    struct reply reply;
    while (recv(user, &question, sizeof(question), 0) ==
           (ssize_t)sizeof(question)) {
        question.method[sizeof(question.method) - 1] = '\0';
        question.uri[sizeof(question.uri) - 1] = '\0';
        if (!is_fair(&question))
            break;
        ask_here(d, &question, &reply);
        if (send(user, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
            break;
    }
}

static void ask(const struct doctor *d, const char *method, const char *uri,
                struct reply *reply)
{
    struct question question;
    memset(&question, 0, sizeof(question));
    copy(question.method, sizeof(question.method), method);
    copy(question.uri, sizeof(question.uri), uri);
    if (d->root < 0 ||
        send(d->root, &question, sizeof(question), MSG_NOSIGNAL) < 0 ||
        recv(d->root, reply, sizeof(*reply), 0) != (ssize_t)sizeof(*reply))
        ask_here(d, &question, reply);
}

/* The probe, asked of a worker: has it the store that this tool has? HEAD,
 * which is not counted. */
static void check_same_store(struct doctor *d, const char *address)
{
    struct reply reply;
    const char *host = strstr(d->conf->app_url, "://") + 3;
    char *uri = mem_printf("%s%s", host + strcspn(host, "/"), d->id);
    ask(d, "HEAD", uri, &reply);
    if (reply.status == 404) {
        doctor_wait_for_link(d);
        ask(d, "HEAD", uri, &reply);
    }
    if (reply.result != RESULT_OK)
        add_socket_fault(d, address, reply.result, reply.reason);
    else if (reply.status == 301 && strcmp(reply.location, DOCTOR_TARGET) == 0)
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers have the same store, and find the probe in "
                   "%lld ms",
                   address, (long long)reply.ms);
    else if (reply.status == 404)
        report_add(d->report, REPORT_FAIL, "socket",
                   "start the pool again: it has another APP_URL, TABLE or "
                   "STATE_DIR than the configuration now",
                   "%s: the workers do not find the probe", address);
    else
        report_add(d->report, REPORT_FAIL, "socket",
                   "look at the log of curt.fcgi",
                   "%s: the workers answer %d instead of the probe's redirect",
                   address, reply.status);
    free(uri);
}

static bool is_open_to_network(const char *address)
{
    return strncmp(address, "tcp:", 4) == 0 &&
           strncmp(address, "tcp:127.", 8) != 0 &&
           strncmp(address, "tcp:[::1]:", 10) != 0 &&
           getenv("FCGI_WEB_SERVER_ADDRS") == NULL;
}

void doctor_check_socket(struct doctor *d)
{
    struct reply reply;
    char *address = pool_address(d->conf);
    if (address == NULL) {
        report_add(d->report, REPORT_WARN, "socket",
                   d->running ? "start the pool again, and see that it can "
                                "write RUNTIME_DIR"
                              : "start the pool",
                   "%s/socket: %s: where the workers listen is not known",
                   d->conf->runtime_dir, strerror(errno));
        return;
    }
    if (is_open_to_network(address))
        report_add(d->report, REPORT_WARN, "socket",
                   "listen on a Unix socket or on 127.0.0.1",
                   "%s: FastCGI has no password, and other hosts may reach it",
                   address);
    ask(d, "GET", "/create", &reply);
    if (reply.result != RESULT_OK)
        add_socket_fault(d, address, reply.result, reply.reason);
    else if (reply.status != 405 || strcmp(reply.allow, "POST") != 0)
        add_socket_fault(d, address, RESULT_CORRUPT,
                         "what answers there is not curt");
    else if (d->stored)
        check_same_store(d, address);
    else
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers answer in %lld ms", address,
                   (long long)reply.ms);
    free(address);
}
