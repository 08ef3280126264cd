#include "aws_credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws_chain.h"
#include "aws_refresh.h"
#include "aws_share.h"
#include "aws_source.h"
#include "clock.h"
#include "jitter.h"
#include "log.h"
#include "mem.h"

/* After keys came, the source is left alone for so long whatever the server
 * says of them, in ms: one that calls all keys expired must make no storm. */
#define FLOOR_MS 1000

/* A failure of a source that had less time than this, in ms, is not held
 * against those who come with more. */
#define FAIR_MS 1000

/* How long the lock is waited for at a time, in microseconds. */
#define LOCK_WAIT 20000

/* How long, in ms, before the process that asks is thought to be stopped. */
#define PATIENCE_MS 1000

struct aws_credentials {
    const struct conf *conf;
    bool shared; /* wanted, and not opened yet */
    struct aws_share *share;
    /* Both on pages that core dumps leave out. */
    struct aws_share_state *state; /* the keys in use, and the last failure */
    struct aws_share_state *seen;  /* to read the file into */
    uint64_t generation;           /* of the file, when it was last read */
    bool own;                      /* the keys are not those of the file */
    bool rejected;                 /* the server does not take the keys */
    bool tending;
    int64_t deadline; /* of the call under way */
    char *long_token; /* instead of state->keys.token; NULL: none */
    size_t long_size;
    bool long_said;
    struct buf error;
};

struct aws_credentials *aws_credentials_new(const struct conf *conf,
                                            bool shared)
{
    struct aws_credentials *c = mem_zalloc(sizeof(*c));
    c->conf = conf;
    c->shared = shared;
    c->state = mem_secret_alloc(sizeof(*c->state));
    c->seen = mem_secret_alloc(sizeof(*c->seen));
    buf_init(&c->error, AWS_SHARE_TEXT_SIZE - 1);
    return c;
}

static void drop_long_token(struct aws_credentials *c)
{
    mem_secret_free(c->long_token, c->long_size);
    c->long_token = NULL;
}

void aws_credentials_free(struct aws_credentials *c)
{
    if (c == NULL)
        return;
    drop_long_token(c);
    mem_secret_free(c->state, sizeof(*c->state));
    mem_secret_free(c->seen, sizeof(*c->seen));
    aws_share_close(c->share);
    buf_free(&c->error);
    free(c);
}

static struct aws_refresh_now read_now(void)
{
    return (struct aws_refresh_now){clock_now(), clock_monotonic_ms()};
}

/* ---- What there is --------------------------------------------------- */

static bool is_usable(const struct aws_credentials *c,
                      struct aws_refresh_now now)
{
    return c->state->keys.serial != 0 &&
           aws_refresh_stage(&c->state->keys.plan, now) !=
               AWS_REFRESH_STAGE_OVER;
}

/* Takes over what other processes have published since the last time. Keys of
 * this process's own stay while there are only older ones. */
static void catch_up(struct aws_credentials *c)
{
    if (c->share == NULL || aws_share_generation(c->share) == c->generation)
        return;
    c->generation = aws_share_read(c->share, c->seen);
    c->state->failure = c->seen->failure;
    const struct aws_share_keys *theirs = &c->seen->keys;
    const struct aws_share_keys *mine = &c->state->keys;
    if (theirs->serial == 0 || (c->own ? theirs->taken_ms < mine->taken_ms
                                       : theirs->serial == mine->serial))
        return;
    c->state->keys = *theirs;
    drop_long_token(c);
    c->own = false;
    c->rejected = false;
}

enum need {
    NEED_NOTHING, /* the keys will do */
    NEED_SOON,    /* they will do, and somebody should ask for others */
    NEED_NOW      /* they will not, or the server does not take them */
};

/* A worker spares the browser that waits for it the wait for a source, until
 * the last moment: the janitor renews the keys long before. */
static enum need need_of(const struct aws_credentials *c,
                         struct aws_refresh_now now)
{
    const struct aws_share_keys *keys = &c->state->keys;
    if (!is_usable(c, now))
        return NEED_NOW;
    if (c->rejected)
        return now.ms - keys->taken_ms < FLOOR_MS ? NEED_NOTHING : NEED_NOW;
    switch (aws_refresh_stage(&keys->plan, now)) {
    case AWS_REFRESH_STAGE_FRESH:
        return NEED_NOTHING;
    case AWS_REFRESH_STAGE_DUE:
        return c->tending ? NEED_SOON : NEED_NOTHING;
    default:
        return NEED_SOON;
    }
}

/* Whether a source that failed is to be left alone for now. One that gave no
 * answer to somebody who had much less time is not: where it takes longer than
 * a worker can wait, the janitor, who asks rarely, would never get to ask. */
static bool is_paused(const struct aws_credentials *c,
                      struct aws_refresh_now now)
{
    const struct aws_share_failure *f = &c->state->failure;
    if (f->result == RESULT_UNAVAILABLE && c->deadline - now.ms > 2 * f->given)
        return false;
    bool patient =
        !c->rejected &&
        aws_refresh_stage(&c->state->keys.plan, now) == AWS_REFRESH_STAGE_DUE;
    return f->count > 0 && now.ms >= f->at_ms &&
           now.ms < (patient ? f->renew_ms : f->again_ms);
}

/* Whether there is nothing to ask for, after a look at what others did. */
static bool is_settled(struct aws_credentials *c)
{
    catch_up(c);
    struct aws_refresh_now now = read_now();
    return need_of(c, now) == NEED_NOTHING || is_paused(c, now);
}

/* ---- Asking ---------------------------------------------------------- */

/* A token that is larger than its place in the file stays in this process. */
static void keep_token(struct aws_credentials *c, const char *token)
{
    drop_long_token(c);
    if (token == NULL)
        return;
    size_t size = strlen(token) + 1;
    if (size <= sizeof(c->state->keys.token)) {
        memcpy(c->state->keys.token, token, size);
        return;
    }
    c->long_token = mem_secret_alloc(size);
    c->long_size = size;
    memcpy(c->long_token, token, size);
}

/* What the operator is shown. */
static void name_source(struct aws_share_keys *keys, const char *where)
{
    const char *name = aws_chain_name(keys->source);
    if (where == NULL || strcmp(where, name) == 0)
        snprintf(keys->where, sizeof(keys->where), "%s", name);
    else
        snprintf(keys->where, sizeof(keys->where), "%s (%s)", name, where);
}

static void keep_found(struct aws_credentials *c, const struct aws_found *found,
                       size_t source, bool locked)
{
    struct aws_share_keys *keys = &c->state->keys;
    const struct aws_refresh_now now = read_now();
    mem_wipe(keys, sizeof(*keys));
    keys->serial = c->generation + 1;
    keys->source = source;
    keys->taken_ms = now.ms;
    keys->plan = aws_refresh_make(found->expires, now, jitter_bits());
    memcpy(keys->id, found->id, strlen(found->id) + 1);
    memcpy(keys->secret, found->secret, strlen(found->secret) + 1);
    name_source(keys, found->where);
    keep_token(c, found->token);
    c->own = !locked || found->expires == 0 || c->long_token != NULL;
    c->rejected = false;
    if (c->long_token != NULL && locked && !c->long_said) {
        c->long_said = true;
        log_warning("the session token from %s has more than %d bytes; each "
                    "process asks for keys of its own",
                    keys->where, AWS_SHARE_TOKEN_SIZE - 1);
    }
}

/* Keeps what a source gave, if it can be kept. */
static enum result credentials_keep(struct aws_credentials *c,
                                    const struct aws_found *found,
                                    size_t source, bool locked)
{
    if (strlen(found->id) < AWS_SHARE_ID_SIZE &&
        strlen(found->secret) < AWS_SHARE_SECRET_SIZE) {
        keep_found(c, found, source, locked);
        return RESULT_OK;
    }
    buf_reset(&c->error);
    buf_addf(&c->error, "credentials from %s: longer than any keys",
             aws_chain_name(source));
    return RESULT_DENIED;
}

/* Asks the sources and keeps what they give. */
static enum result credentials_ask(struct aws_credentials *c, int64_t deadline,
                                   bool locked)
{
    struct aws_found found;
    size_t source;
    enum result r =
        aws_chain_ask(c->conf, deadline, &found, &source, &c->error);
    if (r != RESULT_OK)
        return r;
    r = credentials_keep(c, &found, source, locked);
    aws_found_free(&found);
    return r;
}

/* Somebody must hear of it when keys cannot be renewed while all still goes
 * well; where there are none, those who need them say so. */
static void say_failed(struct aws_credentials *c, bool usable)
{
    struct aws_share_failure *f = &c->state->failure;
    char text[CLOCK_TEXT_SIZE];
    if (f->logged || !(usable || c->tending))
        return;
    f->logged = 1;
    if (!usable || c->state->keys.plan.over == 0) {
        log_warning("%s", f->text);
        return;
    }
    clock_text(c->state->keys.plan.over, text);
    log_warning("%s; the keys of before are used until %sZ", f->text, text);
}

static void note_failure(struct aws_credentials *c, enum result r,
                         int64_t given)
{
    struct aws_share_failure *f = &c->state->failure;
    const struct aws_refresh_now now = read_now();
    uint32_t dice = jitter_bits();
    f->count++;
    f->result = (uint32_t)r;
    f->given = given;
    f->at_ms = now.ms;
    f->again_ms = now.ms + aws_refresh_pause(f->count, false, dice);
    f->renew_ms = now.ms + aws_refresh_pause(f->count, true, dice);
    snprintf(f->text, sizeof(f->text), "%s", c->error.data);
    say_failed(c, is_usable(c, now));
}

static void note_success(struct aws_credentials *c)
{
    struct aws_share_failure *f = &c->state->failure;
    if (f->logged)
        log_info("there are credentials again, from %s", c->state->keys.where);
    memset(f, 0, sizeof(*f));
}

/* Puts what came of it into the file, whose lock is held; keys of this
 * process's own are not put there. */
static void credentials_publish(struct aws_credentials *c)
{
    aws_share_read(c->share, c->seen);
    c->seen->failure = c->state->failure;
    if (!c->own)
        c->seen->keys = c->state->keys;
    c->generation = aws_share_publish(c->share, c->seen);
}

/* Renews the keys; locked: as the one process that does. */
static enum result credentials_renew(struct aws_credentials *c,
                                     int64_t deadline, bool locked)
{
    struct aws_refresh_now now = read_now();
    bool fair = deadline - now.ms >= FAIR_MS || is_usable(c, now);
    enum result r = credentials_ask(c, deadline, locked);
    if (r == RESULT_OK)
        note_success(c);
    else if (r != RESULT_UNAVAILABLE || fair)
        note_failure(c, r, c->deadline - now.ms);
    if (locked)
        credentials_publish(c);
    return is_usable(c, read_now()) ? RESULT_OK : r;
}

/* ---- One process asks, the others wait ------------------------------- */

enum claim {
    CLAIM_MINE,  /* this process asks, for all; it has the lock */
    CLAIM_ALONE, /* it asks, for itself */
    CLAIM_NONE,  /* there is no need any more, or no time */
};

static enum claim credentials_claim(struct aws_credentials *c, int64_t deadline)
{
    const int64_t start = clock_monotonic_ms();
    if (c->share == NULL)
        return CLAIM_ALONE;
    for (;;) {
        struct aws_refresh_now now = read_now();
        bool wait = need_of(c, now) == NEED_NOW;
        if (aws_share_lock(c->share, wait ? LOCK_WAIT : 0, deadline)) {
            if (!is_settled(c) && clock_monotonic_ms() < deadline)
                return CLAIM_MINE;
            aws_share_unlock(c->share);
            return CLAIM_NONE;
        }
        if (is_settled(c) || !wait || now.ms >= deadline)
            return CLAIM_NONE;
        if (now.ms - start >= PATIENCE_MS &&
            aws_share_overdue(c->share, now.ms))
            return CLAIM_ALONE;
    }
}

/* What there is in the end, when this process did not ask itself. False: the
 * keys ended just now, and there is time left to ask. */
static bool credentials_recall(struct aws_credentials *c, int64_t deadline,
                               enum result *out)
{
    const struct aws_refresh_now now = read_now();
    const struct aws_share_failure *f = &c->state->failure;
    *out = RESULT_OK;
    if (is_usable(c, now))
        return true;
    if (!is_paused(c, now) && now.ms < deadline)
        return false;
    buf_reset(&c->error);
    *out = f->count > 0 && f->result != RESULT_OK ? (enum result)f->result
                                                  : RESULT_UNAVAILABLE;
    if (f->count > 0)
        buf_addf(&c->error, "%.*s (asked %lld s ago)", AWS_SHARE_TEXT_SIZE - 64,
                 f->text, (long long)(now.ms - f->at_ms) / 1000 + 1);
    else
        buf_add_str(&c->error, "no credentials yet, and no time left to wait "
                               "for them");
    return true;
}

/* Keys of the configuration are there at once; nothing is shared for them.
 * RESULT_NOT_FOUND: there are none. */
static enum result take_environment(struct aws_credentials *c)
{
    struct aws_found found;
    enum result r = aws_chain_ask_environment(c->conf, &found, &c->error);
    if (r == RESULT_OK) {
        r = credentials_keep(c, &found, AWS_CHAIN_ENVIRONMENT, false);
        aws_found_free(&found);
    }
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        note_failure(c, r, 0);
    return r;
}

/* With keys in hand, asking for others takes half of the time at most: what is
 * left is for what the keys are for. */
static int64_t time_to_ask(const struct aws_credentials *c, int64_t deadline)
{
    const struct aws_refresh_now now = read_now();
    if (c->tending || !is_usable(c, now))
        return deadline;
    return now.ms + (deadline - now.ms) / 2;
}

static void open_share(struct aws_credentials *c)
{
    if (!c->shared || c->state->keys.serial != 0)
        return;
    c->shared = false;
    c->share = aws_share_open(c->conf);
}

/* Asks the sources, if they are to be asked, or waits for who does. False: see
 * credentials_recall(). */
static bool renew_or_wait(struct aws_credentials *c, int64_t deadline,
                          enum result *out)
{
    if (is_settled(c))
        return credentials_recall(c, deadline, out);
    const int64_t limit = time_to_ask(c, deadline);
    const enum claim mine = credentials_claim(c, limit);
    if (mine == CLAIM_NONE)
        return credentials_recall(c, deadline, out);
    *out = credentials_renew(c, limit, mine == CLAIM_MINE);
    if (mine == CLAIM_MINE)
        aws_share_unlock(c->share);
    return *out != RESULT_OK || is_usable(c, read_now());
}

static enum result credentials_provide(struct aws_credentials *c,
                                       int64_t deadline)
{
    enum result r = RESULT_NOT_FOUND;
    c->deadline = deadline;
    if (c->state->keys.serial == 0)
        r = take_environment(c);
    if (r != RESULT_NOT_FOUND)
        return r;
    open_share(c);
    while (!renew_or_wait(c, deadline, &r))
        continue;
    return r;
}

/* ---- The interface --------------------------------------------------- */

enum result aws_credentials_get(struct aws_credentials *c, int64_t deadline,
                                struct aws_keys *out)
{
    const struct aws_share_keys *keys = &c->state->keys;
    enum result r = credentials_provide(c, deadline);
    *out = (struct aws_keys){0};
    if (r != RESULT_OK)
        return r;
    buf_reset(&c->error);
    out->id = keys->id;
    out->secret = keys->secret;
    out->token = c->long_token;
    if (out->token == NULL && keys->token[0] != '\0')
        out->token = keys->token;
    return RESULT_OK;
}

bool aws_credentials_expire(struct aws_credentials *c)
{
    const struct aws_share_keys *keys = &c->state->keys;
    if (keys->serial == 0 || keys->source == AWS_CHAIN_ENVIRONMENT)
        return false;
    c->rejected = true;
    c->generation = 0; /* the file is read again */
    catch_up(c);
    struct aws_refresh_now now = read_now();
    return !c->rejected ||
           (need_of(c, now) != NEED_NOTHING && !is_paused(c, now));
}

void aws_credentials_tend(struct aws_credentials *c, int64_t deadline)
{
    c->tending = true;
    enum result r = credentials_provide(c, deadline);
    c->tending = false;
    if (r != RESULT_OK)
        log_debug("no credentials: %s", c->error.data);
}

const char *aws_credentials_source(const struct aws_credentials *c)
{
    return c->state->keys.where;
}

int64_t aws_credentials_expires(const struct aws_credentials *c)
{
    return c->state->keys.plan.over;
}

const char *aws_credentials_error(const struct aws_credentials *c)
{
    return c->error.data;
}

bool aws_credentials_shown_in(const struct aws_credentials *c, const char *text)
{
    const struct aws_share_keys *keys = &c->state->keys;
    return (keys->secret[0] != '\0' && strstr(text, keys->secret) != NULL) ||
           (keys->token[0] != '\0' && strstr(text, keys->token) != NULL) ||
           (c->long_token != NULL && strstr(text, c->long_token) != NULL);
}
