#include "process/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/fcgi.h"
#include "http/router.h"
#include "process/janitor.h"

/* How often files that could not be opened are tried again. */
#define REOPEN_MS 2000

static volatile sig_atomic_t drain_timeout;
static volatile sig_atomic_t term_count;
static volatile sig_atomic_t reload_wanted;

/* Everything that a worker has for its requests. */
struct worker {
    struct app app;
    struct fcgi *fcgi;
    struct http_response res;
};

static void on_stop(int sig)
{
    if (sig == SIGTERM && ++term_count > 1)
        _exit(0);
    /* The master may have ended, and cannot kill a worker that is stuck. */
    if (drain_timeout > 0)
        alarm((unsigned)drain_timeout);
    drain_timeout = 0;
    fcgi_interrupt(true);
}

static void on_alarm(int sig)
{
    (void)sig;
    _exit(1);
}

static void on_reload(int sig)
{
    (void)sig;
    reload_wanted = 1;
    fcgi_interrupt(false);
}

static void handle_signals(const struct conf *conf, void (*hup)(int))
{
    static const int stops[] = {SIGTERM, SIGUSR1, SIGINT, SIGQUIT};
    const size_t count = sizeof(stops) / sizeof(stops[0]);
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    drain_timeout = (sig_atomic_t)conf->drain_timeout;
    /* No handler is interrupted by another one. */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < count; i++)
        sigaddset(&action.sa_mask, stops[i]);
    for (size_t i = 0; i < count; i++)
        sigaction(stops[i], &action, NULL);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = hup;
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The store, and the journal, cache and limits, which belong to it. */
static void open_store(struct app *app)
{
    if (app->conf->create_auth == CONF_AUTH_KEY)
        mem_forbid_core_dumps(); /* requests have API keys */
    app->store = store_new_pooled(app->conf);
    app->hits = hits_open(app->conf, &app->hits_failed);
    app->cache = cache_open(app->conf, &app->cache_failed);
    app->limits = limits_open(app->conf, &app->limits_failed);
}

static void close_store(struct app *app)
{
    hostlist_close_all(app->hosts);
    limits_close(app->limits);
    cache_close(app->cache);
    hits_close(app->hits);
    store_free(app->store);
}

/* hup: what HUP does. */
static void open_worker(struct worker *w, const struct conf *conf,
                        void (*hup)(int))
{
    log_open("worker");
    *w = (struct worker){.app = {.conf = conf}};
    open_store(&w->app);
    http_response_init(&w->res, conf);
    w->fcgi = fcgi_new(conf, router_takes_body);
    handle_signals(conf, hup);
}

static void close_worker(struct worker *w)
{
    fcgi_free(w->fcgi);
    http_response_free(&w->res);
    close_store(&w->app);
}

/* Opens files again that could not be opened or were replaced. */
static void reopen_files(struct app *app, int64_t now_ms)
{
    if (cache_is_replaced(app->cache)) {
        cache_close(app->cache);
        app->cache = NULL;
    }
    if (limits_is_replaced(app->limits)) {
        limits_close(app->limits);
        app->limits = NULL;
    }
    const bool no_cache = app->cache == NULL && cache_is_wanted(app->conf);
    const bool no_limits = app->limits == NULL && app->conf->limits;
    if ((app->hits != NULL && !no_cache && !no_limits) ||
        now_ms < app->reopen_ms)
        return;
    app->reopen_ms = now_ms + REOPEN_MS;
    if (app->hits == NULL)
        app->hits = hits_open(app->conf, &app->hits_failed);
    if (no_cache)
        app->cache = cache_open(app->conf, &app->cache_failed);
    if (no_limits)
        app->limits = limits_open(app->conf, &app->limits_failed);
}

static void answer_request(struct worker *w, const struct http_request *req)
{
    log_set_trace(req->trace_id);
    if (req->uri == NULL) {
        log_error("REQUEST_URI is missing: configure the web server as in the "
                  "shipped deployment files");
        http_problem(&w->res, req, 500, "The web server is misconfigured.");
    } else {
        const int64_t now_ms = clock_monotonic_ms();
        reopen_files(&w->app, now_ms);
        /* For all store operations of the request together. */
        w->app.deadline = now_ms + (int64_t)w->app.conf->store_timeout * 1000;
        router_dispatch(&w->app, req, &w->res);
    }
    fcgi_finish(w->fcgi, &w->res);
    log_set_trace(NULL);
}

int worker_run(const struct conf *conf, struct master_child *shared)
{
    const pid_t self = getpid();
    const struct http_request *req;
    struct worker w;
    sigset_t none;
    /* Until it serves there is nothing that a signal could interrupt. */
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    open_worker(&w, conf, SIG_IGN);
    shared->serves = self;
    while (fcgi_accept(w.fcgi, &req)) {
        answer_request(&w, req);
        if (shared->answered != self) /* the workers share the cache line */
            shared->answered = self;
    }
    close_worker(&w);
    return 0;
}

int worker_run_alone(struct conf *conf, const char *conf_file)
{
    const struct http_request *req;
    struct worker w;
    struct janitor_watch watch = {0};
    open_worker(&w, conf, on_reload);
    janitor_watch(&watch, conf);
    while (fcgi_accept(w.fcgi, &req)) {
        if (reload_wanted) {
            struct conf old;
            reload_wanted = 0;
            if (conf_reload(conf_file, conf, &old)) {
                close_store(&w.app);
                conf_free(&old);
                open_store(&w.app);
                if (drain_timeout > 0)
                    drain_timeout = (sig_atomic_t)conf->drain_timeout;
            }
            janitor_renew(&watch);
        }
        if (req != NULL)
            answer_request(&w, req);
        janitor_watch(&watch, conf);
    }
    janitor_leave(&watch, conf);
    close_worker(&w);
    conf_free(conf);
    return 0;
}
