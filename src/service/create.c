#include "service/create.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "link/ids.h"
#include "link/url.h"
#include "service/targets.h"

#define KEY_FIELD "Idempotency-Key"

/* ---- Members --------------------------------------------------------- */

enum create_type {
    CREATE_URL,
    CREATE_ID,
    CREATE_TITLE,
    CREATE_TAGS,
    CREATE_FLAG,
    CREATE_FIND,
    /* Numbers: */
    CREATE_EXPIRY,
    CREATE_TTL,
    CREATE_TIME,
    CREATE_HITS,
    CREATE_STATUS
};

#define EXPECTED_TIME                                                          \
    "must be an RFC 3339 time, such as 2030-12-31T23:00:00Z, or seconds since" \
    " the epoch"
#define EXPECTED_FLAG "must be true or false"

static const struct create_member {
    const char *name;
    enum create_type type;
    size_t field; /* of link_fields */
    const char *expected;
} members[] = {
    {"long_url", CREATE_URL, 0, "must be a string"},
    {"short_id", CREATE_ID, 0, "must be 1 to 64 letters, digits, - and _"},
    {"expires_at", CREATE_EXPIRY, 0, EXPECTED_TIME},
    {"ttl", CREATE_TTL, 0, "must be a number of seconds from 0 to 3155760000"},
    {"not_before", CREATE_TIME, LINK_FIELD_NOT_BEFORE, EXPECTED_TIME},
    {"max_hits", CREATE_HITS, LINK_FIELD_MAX_HITS,
     "must be an integer from 1 to 1000000000"},
    {"redirect_status", CREATE_STATUS, LINK_FIELD_REDIRECT_STATUS,
     "must be 301, 302, 307 or 308"},
    {"forward_query", CREATE_FLAG, LINK_FIELD_FORWARD_QUERY, EXPECTED_FLAG},
    {"title", CREATE_TITLE, LINK_FIELD_TITLE,
     "must be a string of at most 512 bytes without control characters"},
    {"tags", CREATE_TAGS, LINK_FIELD_TAGS,
     "must be an array of at most 32 strings of 1 to 64 bytes, without commas "
     "and control characters"},
    {"find_if_exists", CREATE_FIND, 0, EXPECTED_FLAG},
};

_Static_assert(CREATE_SECONDS_MAX == 3155760000 &&
                   CREATE_HITS_MAX == 1000000000 && IDS_MAX == 64 &&
                   LINK_TITLE_MAX == 512 && LINK_TAGS_MAX == 32 &&
                   LINK_TAG_MAX == 64,
               "the texts above");

#define MEMBER_COUNT (sizeof(members) / sizeof(members[0]))

const char *create_member(size_t i)
{
    return i < MEMBER_COUNT ? members[i].name : NULL;
}

/* The parts between commas, without the blanks around them. */
static json_object *split_tags(const char *text)
{
    json_object *tags = json_object_new_array();
    while (*text != '\0') {
        text += strspn(text, " ,");
        const size_t whole = strcspn(text, ",");
        size_t len = whole;
        while (len > 0 && text[len - 1] == ' ')
            len--;
        if (len > 0)
            json_object_array_add(tags,
                                  json_object_new_string_len(text, (int)len));
        text += whole;
    }
    return tags;
}

struct json_object *create_value(const char *member, const char *text,
                                 size_t len)
{
    size_t i = 0;
    uint64_t n;
    while (i < MEMBER_COUNT && strcmp(members[i].name, member) != 0)
        i++;
    const enum create_type type =
        i < MEMBER_COUNT ? members[i].type : CREATE_URL;
    const bool is_flag = type == CREATE_FLAG || type == CREATE_FIND;
    if (len == 0 && type != CREATE_URL)
        return NULL;
    if (type >= CREATE_EXPIRY && text_number(text, INT64_MAX, &n))
        return json_object_new_int64((int64_t)n);
    if (is_flag && (strcmp(text, "on") == 0 || strcmp(text, "true") == 0))
        return json_object_new_boolean(true);
    if (is_flag && (strcmp(text, "off") == 0 || strcmp(text, "false") == 0))
        return json_object_new_boolean(false);
    if (type == CREATE_TAGS && strlen(text) == len)
        return split_tags(text);
    return json_object_new_string_len(text, (int)len);
}

static bool read_integer(json_object *value, int64_t min, int64_t max,
                         int64_t *n)
{
    *n = json_object_get_int64(value);
    return json_object_is_type(value, json_type_int) && *n >= min && *n <= max;
}

static bool read_time(json_object *value, int64_t *t)
{
    if (!json_object_is_type(value, json_type_string))
        return read_integer(value, 0, CREATE_TIME_MAX, t);
    return clock_parse(json_object_get_string(value), t) && *t >= 0 &&
           *t <= CREATE_TIME_MAX;
}

/* Whether a value is a string of 1 to max bytes that can be shown. */
static bool is_shown(json_object *value, size_t max)
{
    const size_t len = (size_t)json_object_get_string_len(value);
    return len > 0 && len <= max && /* 0: not a string */
           utf8_is_shown(json_object_get_string(value), len);
}

static int compare_texts(const void *a, const void *b)
{
    json_object *const *first = a, *const *second = b;
    return strcmp(json_object_get_string(*first),
                  json_object_get_string(*second));
}

/* The tags of a link: a set, in the same order on all stores. NULL: none. */
static bool read_tags(json_object *value, char **tags)
{
    if (!json_object_is_type(value, json_type_array) ||
        json_object_array_length(value) > LINK_TAGS_MAX)
        return false;
    const size_t count = json_object_array_length(value);
    for (size_t i = 0; i < count; i++) {
        json_object *tag = json_object_array_get_idx(value, i);
        if (!is_shown(tag, LINK_TAG_MAX) ||
            strchr(json_object_get_string(tag), ',') != NULL)
            return false;
    }
    json_object_array_sort(value, compare_texts);
    json_object *set = json_object_new_array(), *last = NULL;
    for (size_t i = 0; i < count; i++) {
        json_object *tag = json_object_array_get_idx(value, i);
        if (last == NULL || compare_texts(&last, &tag) != 0)
            json_object_array_add(set, json_object_get(tag));
        last = tag;
    }
    link_set(tags, count > 0 ? json_text(set) : NULL);
    json_object_put(set);
    return true;
}

/* Takes when the link expires, by ttl or by expires_at; null: not given. */
static const char *take_expiry(struct create_request *r,
                               const struct create_member *m,
                               json_object *value)
{
    int64_t n = 0;
    const bool ok = m->type == CREATE_EXPIRY
                        ? read_time(value, &n)
                        : read_integer(value, 0, CREATE_SECONDS_MAX, &n);
    if (value != NULL && (r->ttl_given || !ok))
        return !ok ? m->expected : "cannot be combined with expires_at";
    if (r->ttl_given)
        return NULL;
    r->ttl_given = value != NULL;
    r->link.ttl = m->type == CREATE_EXPIRY && ok ? n
                  : n > 0                        ? clock_now() + n
                                                 : LINK_NEVER;
    link_set(&r->link.ttl_note, NULL);
    return r->link.ttl <= clock_now() ? "must be in the future" : NULL;
}

/* Takes the value of a member; null clears. Returns why it is refused, or
 * NULL. */
static const char *take_member(struct create_request *r,
                               const struct create_member *m,
                               json_object *value)
{
    struct link *l = &r->link;
    const bool is_text = json_object_is_type(value, json_type_string);
    const char *text = is_text ? json_object_get_string(value) : NULL;
    const size_t len = is_text ? (size_t)json_object_get_string_len(value) : 0;
    const bool is_flag = json_object_is_type(value, json_type_boolean);
    int64_t n = 0;
    bool ok = value == NULL;
    switch (m->type) {
    case CREATE_URL:
        ok = is_text;
        r->url = text;
        r->url_len = len;
        break;
    case CREATE_ID:
        ok = ok || (len > 0 && len <= IDS_MAX && strlen(text) == len &&
                    strspn(text, TEXT_ALNUM "-_") == len);
        r->chosen = value != NULL;
        link_set(&l->short_id, text);
        break;
    case CREATE_EXPIRY:
    case CREATE_TTL:
        return take_expiry(r, m, value);
    case CREATE_FIND:
        ok = ok || is_flag;
        r->find_if_exists = json_object_get_boolean(value);
        break;
    case CREATE_TIME:
    case CREATE_HITS:
    case CREATE_STATUS:
        if (m->type == CREATE_TIME)
            ok = ok || read_time(value, &n);
        else if (m->type == CREATE_HITS)
            ok = ok || read_integer(value, 1, CREATE_HITS_MAX, &n);
        else
            ok = ok ||
                 (read_integer(value, 301, 308, &n) && (n <= 302 || n >= 307));
        *link_number_at(l, m->field) = (uint64_t)n;
        break;
    case CREATE_FLAG:
        ok = ok || is_flag;
        *link_flag_at(l, m->field) = json_object_get_boolean(value);
        break;
    case CREATE_TITLE:
        ok = ok || (is_text && len == 0) || is_shown(value, LINK_TITLE_MAX);
        link_set(link_text_at(l, m->field), ok && len > 0 ? text : NULL);
        break;
    case CREATE_TAGS:
        ok = ok || read_tags(value, link_text_at(l, m->field));
        if (value == NULL)
            link_set(link_text_at(l, m->field), NULL);
    }
    return ok ? NULL : m->expected;
}

static void refuse_member(struct create_request *r, enum result result,
                          const char *member, const char *reason)
{
    r->result = result;
    r->member = member;
    r->reason = reason;
}

void create_read(struct json_object *object, struct create_request *r)
{
    for (size_t i = 0; i < MEMBER_COUNT && r->result == RESULT_OK; i++) {
        json_object *value = NULL;
        const char *reason = NULL;
        if (json_object_object_get_ex(object, members[i].name, &value))
            reason = take_member(r, &members[i], value);
        if (reason != NULL)
            refuse_member(r, RESULT_INVALID, members[i].name, reason);
    }
}

enum result create_check(const struct create_context *c,
                         struct create_request *r)
{
    struct link *l = &r->link;
    if (r->result == RESULT_OK && l->rules.not_before > 0 &&
        l->rules.not_before >= (uint64_t)l->ttl)
        refuse_member(r, RESULT_INVALID, "not_before",
                      "must be before the link expires");
    if (r->result != RESULT_OK || r->url == NULL)
        return r->result;
    struct buf url;
    buf_init(&url, URL_MAX);
    r->member = "long_url";
    r->result = targets_accept(c->conf, c->hosts, c->store, r->url, r->url_len,
                               &url, l, &r->reason);
    if (r->result == RESULT_OK)
        link_set(&l->long_url, url.data);
    buf_free(&url);
    return r->result;
}

/* ---- Storing --------------------------------------------------------- */

static void create_set_id(const struct conf *conf, struct link *l,
                          const char *id)
{
    link_set(&l->short_id, id);
    free(l->short_url);
    l->short_url = mem_printf("%s%s", conf->app_url, l->short_id);
}

static enum result create_draw_id(const struct conf *conf, struct link *l)
{
    char id[IDS_MAX + 1];
    const enum result r = ids_draw(
        conf->min_char, conf->max_char,
        conf->case_insensitive ? TEXT_LOWER TEXT_DIGITS : TEXT_ALNUM, id);
    if (r == RESULT_OK)
        create_set_id(conf, l, id);
    else
        log_error("OpenSSL RAND_bytes failed");
    return r;
}

/* Everything of a new link but an id that is drawn. */
static void create_prepare(const struct create_context *c,
                           struct create_request *r, int64_t now)
{
    const struct conf *conf = c->conf;
    struct link *l = &r->link;
    char created_at[CLOCK_TEXT_SIZE];
    if (r->result == RESULT_OK && r->url == NULL)
        refuse_member(r, RESULT_INVALID, "long_url", "is missing");
    if (r->result == RESULT_OK && r->find_if_exists &&
        c->idempotency_key != NULL)
        refuse_member(r, RESULT_INVALID, KEY_FIELD,
                      "cannot be combined with find_if_exists");
    if (r->result == RESULT_OK && r->chosen) {
        if (conf->case_insensitive)
            (void)ids_lower(l->short_id);
        if (!ids_valid(l->short_id, strlen(l->short_id)))
            refuse_member(r, RESULT_INVALID, "short_id",
                          "is a reserved word; choose another");
        create_set_id(conf, l, l->short_id);
    }
    if (!r->ttl_given && conf->link_ttl > 0)
        l->ttl = now + (int64_t)conf->link_ttl;
    if (create_check(c, r) != RESULT_OK)
        return;
    clock_text(now, created_at);
    link_set(&l->created_at, created_at);
    l->analytics = link_analytics(l->long_url, &c->client);
    link_set(&l->key, c->key);
    if (now < CURT_BUILD_TIME)
        r->result = store_fail(c->store, RESULT_UNAVAILABLE,
                               "the clock shows a time before this curt was "
                               "built; set it");
}

static bool equal_texts(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* Reads the link that has the id of r, which takes it over if it is the one
 * that r would create: with an Idempotency-Key that of the same time, also
 * after an edit, else one to the same URL. RESULT_CONFLICT: it is another. */
static enum result create_find(const struct create_context *c,
                               struct create_request *r)
{
    struct link found, *l = &r->link;
    link_init(&found);
    enum result result =
        store_get(c->store, l->short_id, STORE_WHOLE, c->deadline, &found);
    const bool same_url = equal_texts(found.long_url, l->long_url);
    const bool spent =
        found.rules.max_hits > 0 && found.hits >= found.rules.max_hits;
    const bool leads = !link_expired(found.ttl, clock_now()) &&
                       !found.rules.disabled && !spent;
    const bool same = c->idempotency_key != NULL
                          ? equal_texts(found.created_at, l->created_at) &&
                                (same_url || found.version > 0)
                          : same_url && leads;
    const bool take =
        result == RESULT_OK && same && equal_texts(found.key, l->key);
    if (take) /* the request that creates it may still wait for the disk */
        result = store_settle(c->store, c->deadline);
    if (take && result == RESULT_OK) {
        link_free(l);
        *l = found;
        r->existed = true;
        return RESULT_OK;
    }
    link_free(&found);
    return result == RESULT_OK || result == RESULT_CORRUPT ? RESULT_CONFLICT
                                                           : result;
}

/* The record with the id of a link whose creation may be repeated. */
struct reservation {
    char key[STORE_KEY_MAX + 1];
    char body[DIGEST_SIZE]; /* of an Idempotency-Key, or "" */
    uint64_t version;       /* of the record that is to be replaced */
    bool found;             /* an earlier request has made it */
};

static void reservation_init(struct reservation *v,
                             const struct create_context *c,
                             const struct link *l)
{
    struct buf text;
    char digest[DIGEST_SIZE];
    const char *client = l->key != NULL ? l->key : "";
    const bool by_key = c->idempotency_key != NULL;
    *v = (struct reservation){.version = 0};
    buf_init(&text, strlen(client) + 1 + URL_MAX);
    buf_add(&text, client, strlen(client) + 1);
    buf_add_str(&text, by_key ? c->idempotency_key : l->long_url);
    digest_text(text.data, text.len, digest);
    snprintf(v->key, sizeof(v->key), "~%s~%s", by_key ? "idem" : "url", digest);
    buf_free(&text);
    if (by_key)
        digest_text(c->body, c->body_len, v->body);
}

/* Takes over what the record of an earlier request has reserved. */
static enum result take_reservation(const struct create_context *c,
                                    struct create_request *r,
                                    struct reservation *v, json_object *value)
{
    const char *id = json_text_at(value, "id");
    const char *created_at = json_text_at(value, "created_at");
    if (!equal_texts(json_text_at(value, "body"), v->body)) {
        refuse_member(r, RESULT_CONFLICT, KEY_FIELD,
                      "was used with another body in the last 24 hours");
        return RESULT_CONFLICT;
    }
    if (id == NULL || created_at == NULL)
        return store_fail(c->store, RESULT_CORRUPT, "the record %s is damaged",
                          v->key);
    v->found = true;
    create_set_id(c->conf, &r->link, id);
    if (c->idempotency_key != NULL)
        link_set(&r->link.created_at, created_at);
    return RESULT_OK;
}

/* Reserves the id of the link, or takes over the reservation that is there. */
static enum result create_reserve(const struct create_context *c,
                                  struct create_request *r,
                                  struct reservation *v)
{
    const bool by_key = c->idempotency_key != NULL;
    enum result result = RESULT_NOT_FOUND;
    v->found = false;
    for (int i = 0; i < CREATE_DRAWS && result == RESULT_NOT_FOUND; i++) {
        struct store_record record = {
            .value = json_object_new_object(),
            .version = v->version,
            .ttl = by_key ? clock_now() + CREATE_KEY_KEPT : r->link.ttl};
        json_add_text(record.value, "id", r->link.short_id);
        json_add_text(record.value, "created_at", r->link.created_at);
        if (by_key)
            json_add_text(record.value, "body", v->body);
        result = store_record_put(c->store, v->key, &record, c->deadline);
        json_object_put(record.value);
        v->version++;
        if (result != RESULT_CONFLICT)
            break;
        result = store_record_get(c->store, v->key, true, c->deadline, &record);
        v->version = record.version; /* 0: it has expired meanwhile */
        if (result == RESULT_OK) {
            result = take_reservation(c, r, v, record.value);
            json_object_put(record.value);
        }
    }
    return result;
}

/* Creates the link under a reserved id, or answers the link that has it. A
 * reservation whose link is gone, or is another by now, is replaced. */
static enum result create_reserved(const struct create_context *c,
                                   struct create_request *r)
{
    enum result result = RESULT_CONFLICT;
    struct reservation v;
    reservation_init(&v, c, &r->link);
    for (int draw = 0; draw < CREATE_DRAWS; draw++) {
        result = r->chosen ? RESULT_OK : create_draw_id(c->conf, &r->link);
        if (result == RESULT_OK)
            result = create_reserve(c, r, &v);
        if (result == RESULT_OK)
            result = v.found ? create_find(c, r) : RESULT_NOT_FOUND;
        if (result == RESULT_NOT_FOUND) /* it may have crashed before that */
            result = store_create(c->store, &r->link, c->deadline);
        /* Another request with the reservation may have been faster. */
        if (result == RESULT_CONFLICT && r->reason == NULL)
            result = create_find(c, r);
        if (result == RESULT_NOT_FOUND) /* deleted: the id stays taken */
            result = RESULT_CONFLICT;
        if (result != RESULT_CONFLICT || r->chosen || r->reason != NULL)
            break;
    }
    return result;
}

/* Stores links without a reservation, drawing the ids of those that are not
 * chosen until none is taken. */
static void create_open(const struct create_context *c,
                        struct create_request **open, size_t count)
{
    struct link links[STORE_MANY_MAX]; /* their strings are those of open */
    enum result results[STORE_MANY_MAX];
    for (int draw = 0; draw < CREATE_DRAWS && count > 0; draw++) {
        for (size_t i = 0; i < count; i++) {
            if (!open[i]->chosen)
                open[i]->result = create_draw_id(c->conf, &open[i]->link);
            if (open[i]->result == RESULT_INTERNAL)
                return;
            links[i] = open[i]->link;
        }
        if (count == 1)
            results[0] = store_create(c->store, &links[0], c->deadline);
        else
            store_create_many(c->store, links, count, c->deadline, results);
        size_t taken = 0;
        for (size_t i = 0; i < count; i++) {
            open[i]->result = results[i];
            if (results[i] == RESULT_CONFLICT && !open[i]->chosen)
                open[taken++] = open[i];
        }
        count = taken;
    }
}

void create_links(const struct create_context *c,
                  struct create_request *requests, size_t count)
{
    struct create_request *open[STORE_MANY_MAX];
    const int64_t now = clock_now();
    size_t open_count = 0;
    bool is_full = false;
    for (size_t i = 0; i < count; i++) {
        struct create_request *r = &requests[i];
        create_prepare(c, r, now);
        if (r->result != RESULT_OK)
            continue;
        if (c->idempotency_key != NULL || (r->find_if_exists && !r->chosen)) {
            r->result = create_reserved(c, r);
        } else {
            r->result = RESULT_UNAVAILABLE; /* not tried */
            open[open_count++] = r;
        }
    }
    create_open(c, open, open_count);
    for (size_t i = 0; i < count; i++) {
        struct create_request *r = &requests[i];
        if (r->result == RESULT_CONFLICT && r->chosen && r->find_if_exists)
            r->result = create_find(c, r);
        if (r->result == RESULT_NOT_FOUND && r->chosen)
            r->result = RESULT_CONFLICT;
        if (r->result == RESULT_CONFLICT && r->chosen && r->reason == NULL)
            refuse_member(r, RESULT_CONFLICT, "short_id",
                          "is taken; choose another");
        else if (r->result == RESULT_INVALID && r->reason == NULL)
            r->result = RESULT_INTERNAL; /* not the client's fault: store.h */
        is_full = is_full || (r->result == RESULT_CONFLICT && !r->reason);
    }
    if (is_full)
        log_error("no free short_id after %d attempts: the id space is too "
                  "full; raise MAX_CHAR (now %u)",
                  CREATE_DRAWS, (unsigned)c->conf->max_char);
}
