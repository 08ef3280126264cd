#include "aws/credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "aws/credentials_file.h"
#include "aws/http_client.h"
#include "aws/source.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* The shortest time between two fetches, in ms: a server that refuses all
 * credentials must not cause a storm of them. */
#define FLOOR_MS 1000

/* The pause after a failure, in ms: twice as long each time. */
#define PAUSE_MS     2000
#define PAUSE_MAX_MS 5000

/* Longest answer of a source on the network, and reason of a source, in bytes.
 */
#define ANSWER_MAX (128 * 1024)
#define REASON_MAX 2048

/* In the order of AWS's SDKs. */
static const struct {
    const char *name;
    aws_source *query;
} sources[] = {
    {"environment", aws_source_environment},
    {"web identity", aws_source_web_identity},
    {"shared files", aws_source_profile},
    {"container", aws_source_container},
    {"instance metadata", aws_source_instance},
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

struct aws_credentials {
    const struct conf *conf;
    bool shared; /* wanted, and the file is not opened yet */
    struct aws_credentials_file *file; /* NULL: not shared */
    /* On pages that core dumps leave out. */
    struct aws_credentials_set *set;
    int64_t refused_ms; /* fetched_ms of the set that the server refused */
    bool tending;       /* this is the janitor's call */
    int64_t tend_ms;    /* set->retry_ms of the janitor's own failures */
};

struct aws_credentials *aws_credentials_new(const struct conf *conf,
                                            bool shared)
{
    struct aws_credentials *c = mem_zalloc(sizeof(*c));
    c->conf = conf;
    c->shared = shared;
    /* Whole pages, so that what else is on them is not left out of dumps. */
    c->set = mmap(NULL, sizeof(*c->set), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->set == MAP_FAILED) {
        log_error("out of memory (%zu bytes)", sizeof(*c->set));
        abort();
    }
    madvise(c->set, sizeof(*c->set), MADV_DONTDUMP);
    return c;
}

void aws_credentials_free(struct aws_credentials *c)
{
    if (c == NULL)
        return;
    explicit_bzero(c->set, sizeof(*c->set));
    munmap(c->set, sizeof(*c->set));
    aws_credentials_file_close(c->file);
    free(c);
}

static bool is_valid(const struct aws_credentials_set *set)
{
    return set->fetched_ms != 0 &&
           (set->expires == 0 || clock_now() < set->expires);
}

/* Takes what other processes have published, and decides whether there is
 * still a reason to fetch. */
static bool must_fetch(struct aws_credentials *c)
{
    const struct aws_credentials_set *set = c->set;
    if (c->file != NULL)
        aws_credentials_file_read(c->file, c->set);
    const int64_t now_ms = clock_monotonic_ms();
    if (now_ms < (c->tending ? c->tend_ms : set->retry_ms))
        return false;
    if (!is_valid(set))
        return true;
    if (set->fetched_ms == c->refused_ms)
        return now_ms - set->fetched_ms >= FLOOR_MS;
    return c->tending && set->expires != 0 && clock_now() >= set->renew;
}

static void keep_failure(struct aws_credentials *c, enum result r,
                         const char *error)
{
    struct aws_credentials_set *set = c->set;
    const int64_t pause =
        set->failures < 2 ? PAUSE_MS << set->failures : PAUSE_MAX_MS;
    set->failures++;
    set->result = (uint32_t)r;
    set->retry_ms = clock_monotonic_ms() + pause - clock_jitter() % (pause / 2);
    snprintf(set->error, sizeof(set->error), "%s", error);
    if (!c->tending)
        return; /* the request that fails reports it */
    c->tend_ms = set->retry_ms;
    if (set->logged)
        return;
    set->logged = 1;
    if (is_valid(set) && set->expires != 0) {
        char text[CLOCK_TEXT_SIZE];
        clock_text(set->expires, text);
        log_warning("%s; the current credentials are used until %sZ",
                    set->error, text);
    } else {
        log_warning("%s", set->error);
    }
}

static void keep_found(struct aws_credentials *c, const struct aws_found *found)
{
    struct aws_credentials_set *set = c->set;
    const bool logged = set->logged;
    explicit_bzero(set, sizeof(*set));
    set->fetched_ms = clock_monotonic_ms();
    if (found->expires != 0) {
        const int64_t now = clock_now();
        int64_t lead = (found->expires - now) / 3;
        if (lead < AWS_CREDENTIALS_RENEW_MIN)
            lead = AWS_CREDENTIALS_RENEW_MIN;
        if (lead > AWS_CREDENTIALS_RENEW_MAX)
            lead = AWS_CREDENTIALS_RENEW_MAX;
        set->expires = found->expires;
        set->renew = found->expires - lead + clock_jitter() % (lead / 3 + 1);
        if (set->renew <= now)
            set->renew = now + 1;
    }
    snprintf(set->id, sizeof(set->id), "%s", found->id);
    snprintf(set->secret, sizeof(set->secret), "%s", found->secret);
    if (found->token != NULL)
        snprintf(set->token, sizeof(set->token), "%s", found->token);
    snprintf(set->where, sizeof(set->where), "%s", found->where);
    if (logged)
        log_info("there are credentials again, from %s", set->where);
}

/* Queries the sources up to the first configured one, which decides. RESULT_OK:
 * *found is filled, its where begins with the name of the source. Otherwise
 * error has the reason: of the source that failed, or of all in order when none
 * is configured. RESULT_DENIED and RESULT_UNAVAILABLE as of
 * aws_credentials_get(). */
static enum result credentials_query(const struct conf *conf, int64_t deadline,
                                     struct aws_found *found, struct buf *error)
{
    const struct aws_source_request request = {
        .conf = conf,
        .http = http_client_new(conf->aws_ca_bundle, ANSWER_MAX),
        .deadline = deadline,
    };
    struct buf reason;
    enum result r = RESULT_NOT_FOUND;
    *found = (struct aws_found){0};
    buf_init(&reason, REASON_MAX);
    for (size_t i = 0; i < SOURCES && r == RESULT_NOT_FOUND; i++) {
        const char *name = sources[i].name;
        buf_reset(&reason);
        r = sources[i].query(&request, found, &reason);
        const char *why = reason.len > 0 ? reason.data : result_text(r);
        if (r == RESULT_NOT_FOUND) {
            buf_addf(error, "%s%s (%s)",
                     i == 0 ? "no credentials; looked at: " : "; ", name, why);
        } else if (r != RESULT_OK) {
            buf_reset(error);
            buf_addf(error, "credentials from %s: %s", name, why);
        } else if (strcmp(found->where, name) != 0) {
            char *where = mem_printf("%s (%s)", name, found->where);
            free(found->where);
            found->where = where;
        }
    }
    buf_free(&reason);
    http_client_free(request.http);
    return r == RESULT_OK || r == RESULT_UNAVAILABLE       ? r
           : r == RESULT_THROTTLED || r == RESULT_INTERNAL ? RESULT_UNAVAILABLE
                                                           : RESULT_DENIED;
}

/* Queries the sources and keeps what comes of it. */
static void credentials_fetch(struct aws_credentials *c, int64_t deadline)
{
    struct aws_found found;
    struct buf error;
    buf_init(&error, SOURCES * (REASON_MAX + 64));
    enum result r = credentials_query(c->conf, deadline, &found, &error);
    if (r != RESULT_OK) {
        keep_failure(c, r, error.data);
    } else if (strlen(found.id) >= AWS_CREDENTIALS_ID_SIZE ||
               strlen(found.secret) >= AWS_CREDENTIALS_SECRET_SIZE ||
               (found.token != NULL &&
                strlen(found.token) >= AWS_CREDENTIALS_TOKEN_SIZE)) {
        buf_addf(&error, "credentials from %s: too long", found.where);
        keep_failure(c, RESULT_DENIED, error.data);
    } else {
        keep_found(c, &found);
    }
    aws_found_free(&found);
    buf_free(&error);
}

/* Fetches as the one process that does, and publishes; or waits for the one
 * that does; or fetches only for itself, when that takes too long. */
static void credentials_renew(struct aws_credentials *c, int64_t deadline)
{
    const struct aws_credentials_set *set = c->set;
    const int64_t now_ms = clock_monotonic_ms();
    /* The other half is for the request that was refused. */
    if (!c->tending && is_valid(set))
        deadline -= (deadline - now_ms) / 2;
    const int64_t wait_us = (deadline - now_ms) * 1000 / 2;
    const bool locked =
        c->file != NULL &&
        aws_credentials_file_lock(c->file, wait_us > 0 ? (unsigned)wait_us : 0);
    if (must_fetch(c)) {
        credentials_fetch(c, deadline);
        if (locked && (set->expires != 0 || set->fetched_ms == 0))
            aws_credentials_file_publish(c->file, set);
    }
    if (locked)
        aws_credentials_file_unlock(c->file);
    if (set->fetched_ms != 0 && set->expires == 0) {
        aws_credentials_file_close(c->file);
        c->file = NULL;
    }
}

enum result aws_credentials_get(struct aws_credentials *c, int64_t deadline,
                                struct aws_keys *out)
{
    const struct aws_credentials_set *set = c->set;
    if (c->shared && c->conf->aws_access_key_id == NULL)
        c->file = aws_credentials_file_open(c->conf);
    c->shared = false;
    while (must_fetch(c)) {
        credentials_renew(c, deadline);
        /* They may have expired since. */
        if (is_valid(set) || clock_monotonic_ms() >= deadline)
            break;
    }
    *out = (struct aws_keys){0};
    if (is_valid(set)) {
        out->id = set->id;
        out->secret = set->secret;
        out->token = set->token[0] != '\0' ? set->token : NULL;
        return RESULT_OK;
    }
    return set->failures > 0 && set->result != RESULT_OK
               ? (enum result)set->result
               : RESULT_UNAVAILABLE;
}

bool aws_credentials_expire(struct aws_credentials *c)
{
    if (c->set->fetched_ms == 0 || c->conf->aws_access_key_id != NULL)
        return false;
    c->refused_ms = c->set->fetched_ms;
    return must_fetch(c) || c->set->fetched_ms != c->refused_ms;
}

void aws_credentials_tend(struct aws_credentials *c, int64_t deadline)
{
    struct aws_keys keys;
    c->tending = true;
    const enum result kept = aws_credentials_get(c, deadline, &keys);
    (void)kept;
    c->tending = false;
}

const char *aws_credentials_source(const struct aws_credentials *c)
{
    return c->set->where;
}

int64_t aws_credentials_expires(const struct aws_credentials *c)
{
    return c->set->expires;
}

const char *aws_credentials_error(const struct aws_credentials *c)
{
    return c->set->failures > 0 ? c->set->error
                                : "the credentials have just expired";
}

bool aws_credentials_shown_in(const struct aws_credentials *c, const char *text)
{
    const struct aws_credentials_set *set = c->set;
    return (set->secret[0] != '\0' && strstr(text, set->secret) != NULL) ||
           (set->token[0] != '\0' && strstr(text, set->token) != NULL);
}
