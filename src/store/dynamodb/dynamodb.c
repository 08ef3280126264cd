/*
 * The store on a DynamoDB table. Each operation is one call; a create whose
 * answer was lost reads the item back, and a link that an eventually consistent
 * read does not find is read once more, consistently.
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "aws/client.h"
#include "aws/endpoint.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "link/ids.h"
#include "store/dynamodb/dynamodb.h"
#include "store/dynamodb/item.h"

/* Tells one create from another: letters and digits, 131 random bits. */
#define TOKEN_NAME   "creation_token"
#define TOKEN_LENGTH 22

/* A create that is throttled is given up with so many milliseconds left. */
#define KEPT_MS 100

/* Longest expression of an update, in bytes. */
#define EXPRESSION_MAX 1024

/* For a host that redirects: its policy must not let it name long_url in an
 * update, which would allow it to change where links lead. */
#define LINK_EXISTS                                                            \
    "attribute_exists(short_id) AND attribute_not_exists(deleted_at)"

/* DynamoDB's limits: digits of a number; read units of the largest item. */
#define DIGITS_MAX     38
#define ITEM_UNITS_MAX 100

/* How long the janitor waits for new credentials, in milliseconds. */
#define TEND_LIMIT_MS 10000

/* A region that is not configured is the host's, which does not change. */
static char *dynamodb_identity(const struct conf *conf)
{
    const char *endpoint = aws_endpoint_configured(conf);
    char *region = aws_region_configured(conf);
    char *text =
        mem_printf("dynamodb %s %s %s", conf->table != NULL ? conf->table : "",
                   region != NULL ? region : "of this host",
                   endpoint != NULL ? endpoint : "");
    free(region);
    return text;
}

static struct store *dynamodb_make(const struct conf *conf, bool pooled)
{
    struct store_dynamodb *d = mem_zalloc(sizeof(*d));
    char *owner = pooled ? dynamodb_identity(conf) : NULL;
    d->aws = aws_client_new(conf, owner);
    free(owner);
    return &d->base;
}

static void dynamodb_release(struct store *s)
{
    struct store_dynamodb *d = (struct store_dynamodb *)s;
    aws_client_free(d->aws);
    free(d);
}

/* How a request may be sent; the members of struct aws_request. */
enum { ONCE = 0, MAY_REPEAT = 1, GIVES_WAY = 2 };

/* Sends one request, whose body is released, and keeps the error's text. */
static enum result dynamodb_call(struct store *s, const char *action,
                                 json_object *body, unsigned how,
                                 int64_t deadline, struct aws_answer *answer)
{
    const struct aws_request request = {.action = action,
                                        .body = body,
                                        .deadline = deadline,
                                        .may_repeat = (how & MAY_REPEAT) != 0,
                                        .gives_way = (how & GIVES_WAY) != 0,
                                        .dated =
                                            strcmp(action, "PutItem") == 0};
    struct aws_client *aws = ((struct store_dynamodb *)s)->aws;
    enum result r = aws_client_call(aws, &request, answer);
    json_object_put(body);
    if (r == RESULT_OK)
        return r;
    /* Not a missing or an unusable link: the table is missing, or it has
     * another key. */
    if (r == RESULT_NOT_FOUND || r == RESULT_INVALID)
        r = RESULT_UNAVAILABLE;
    return store_fail(s, r, "%s", aws_client_error(aws));
}

/* ---- Requests -------------------------------------------------------- */

static json_object *request_for(const struct store *s)
{
    json_object *body = json_object_new_object();
    json_add_text(body, "TableName", s->conf->table);
    return body;
}

/* A request about the item of short_id. */
static json_object *request_for_key(const struct store *s, const char *short_id)
{
    json_object *body = request_for(s);
    json_object *key = json_object_new_object();
    json_object_object_add(key, "short_id", dynamodb_item_string(short_id));
    json_object_object_add(body, "Key", key);
    return body;
}

/* The object that the request has under name; it is made where it is missing.
 */
static json_object *member_of(json_object *body, const char *name)
{
    json_object *member = NULL;
    if (!json_object_object_get_ex(body, name, &member)) {
        member = json_object_new_object();
        json_object_object_add(body, name, member);
    }
    return member;
}

/* "#name" stands for the attribute in the request's expressions. */
static void add_name(json_object *body, const char *name)
{
    char *alias = mem_printf("#%s", name);
    json_add_text(member_of(body, "ExpressionAttributeNames"), alias, name);
    free(alias);
}

/* And ":name" for this value. */
static void add_value(json_object *body, const char *name, json_object *value)
{
    char *alias = mem_printf(":%s", name);
    json_object_object_add(member_of(body, "ExpressionAttributeValues"), alias,
                           value);
    free(alias);
}

static json_object *get_request(const struct store *s, const char *short_id,
                                enum store_view view, bool consistent)
{
    json_object *body = request_for_key(s, short_id);
    json_object_object_add(body, "ConsistentRead",
                           json_object_new_boolean(consistent));
    if (view != STORE_WHOLE) {
        /* Under other names: some are reserved words of DynamoDB. */
        static const char *const names[] = {
            "short_id",        "long_url",      "ttl",      "deleted_at",
            "reason",          "not_before",    "max_hits", "disabled",
            "redirect_status", "forward_query", "warning"};
        char *list = mem_dup("");
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            char *longer =
                mem_printf("%s%s#%s", list, i > 0 ? ", " : "", names[i]);
            free(list);
            list = longer;
            add_name(body, names[i]);
        }
        json_add_text(body, "ProjectionExpression", list);
        free(list);
    }
    return body;
}

/* ---- Operations ------------------------------------------------------ */

/* Reads the stored item into *item, which the caller releases. */
static enum result read_item(struct store *s, const char *short_id,
                             enum store_view view, bool consistent,
                             json_object **item)
{
    struct aws_answer answer;
    const unsigned how = MAY_REPEAT | (view == STORE_REFRESH ? GIVES_WAY : 0);
    enum result r =
        dynamodb_call(s, "GetItem", get_request(s, short_id, view, consistent),
                      how, s->deadline, &answer);
    if (r != RESULT_OK)
        return r;
    if (json_object_object_get_ex(answer.body, "Item", item))
        json_object_get(*item);
    else
        r = RESULT_NOT_FOUND;
    aws_answer_free(&answer);
    return r;
}

static bool item_has_text(json_object *item, const char *name, const char *text)
{
    json_object *value = NULL, *string = NULL;
    return json_object_object_get_ex(item, name, &value) &&
           json_object_object_get_ex(value, "S", &string) &&
           json_object_is_type(string, json_type_string) &&
           strcmp(json_object_get_string(string), text) == 0;
}

/* After a write of a link whose condition failed: RESULT_CONFLICT if the link
 * exists, which a deleted one does not. */
static enum result find_conflict(struct store *s, const char *short_id)
{
    json_object *item = NULL, *url = NULL;
    enum result r = read_item(s, short_id, STORE_REFRESH, true, &item);
    if (r == RESULT_OK)
        r = json_object_object_get_ex(item, "long_url", &url)
                ? RESULT_CONFLICT
                : RESULT_NOT_FOUND;
    json_object_put(item);
    return r;
}

/* After a write whose answer was lost: reads the item back into *stored, which
 * the caller releases. Otherwise RESULT_UNKNOWN, with both reasons. */
static enum result read_back(struct store *s, const char *key,
                             json_object **stored)
{
    char *lost = mem_dup(s->error.data);
    enum result r = read_item(s, key, STORE_WHOLE, true, stored);
    if (r == RESULT_NOT_FOUND) {
        /* The write may still be on its way. */
        r = store_fail(s, RESULT_UNKNOWN,
                       "%s; reading it back found no item yet", lost);
    } else if (r != RESULT_OK) {
        char *why = mem_dup(s->error.data);
        r = store_fail(s, RESULT_UNKNOWN, "%s; reading it back also failed: %s",
                       lost, why);
        free(why);
    }
    free(lost);
    return r;
}

/* The outcome of a write of l whose answer was lost: whether the stored item
 * has its token. */
static enum result dynamodb_resolve(struct store *s, const struct link *l,
                                    const char *token)
{
    json_object *stored = NULL;
    enum result r = read_back(s, l->short_id, &stored);
    if (r == RESULT_OK && (!item_has_text(stored, TOKEN_NAME, token) ||
                           !item_has_text(stored, "long_url", l->long_url)))
        r = RESULT_CONFLICT;
    json_object_put(stored);
    return r;
}

/* Whether the times of a new link would be right: its ttl decides when DynamoDB
 * deletes it. A difference of the clocks that was too large is measured again,
 * with a read. */
static enum result check_clock(struct store *s, const char *short_id)
{
    int64_t ahead;
    for (unsigned reads = 0;
         aws_client_server_ahead(((struct store_dynamodb *)s)->aws, &ahead) &&
         llabs(ahead) > AWS_CLIENT_SKEW_MAX;
         reads++) {
        json_object *item = NULL;
        if (reads > 0)
            return store_fail(s, RESULT_UNAVAILABLE,
                              "this host's clock is %lld s %s DynamoDB's, so "
                              "the times of a new link would be wrong; set it",
                              (long long)llabs(ahead),
                              ahead > 0 ? "behind" : "ahead of");
        enum result r = read_item(s, short_id, STORE_TARGET, false, &item);
        json_object_put(item);
        if (r != RESULT_OK && r != RESULT_NOT_FOUND)
            return r;
    }
    return RESULT_OK;
}

static enum result dynamodb_create(struct store *s, const struct link *l)
{
    char token[IDS_MAX + 1];
    json_object *item;
    enum result r = check_clock(s, l->short_id);
    if (r != RESULT_OK)
        return r;
    if (ids_make(TOKEN_LENGTH, TOKEN_LENGTH, token) != RESULT_OK)
        return store_fail(s, RESULT_INTERNAL, "OpenSSL RAND_bytes failed");
    if (dynamodb_item_encode(l, &item) != RESULT_OK)
        return store_fail(s, RESULT_INVALID, "analytics is not a JSON object");
    json_object_object_add(item, TOKEN_NAME, dynamodb_item_string(token));
    json_object *body = request_for(s);
    json_object_object_add(body, "Item", item);
    json_add_text(body, "ConditionExpression",
                  "attribute_not_exists(short_id)");

    /* A third of the time is kept for reading back, and used for another
     * attempt if there is nothing to read. */
    struct aws_answer answer;
    int64_t kept;
    do {
        kept = (s->deadline - clock_monotonic_ms()) / 3;
        r = dynamodb_call(s, "PutItem", json_object_get(body), MAY_REPEAT,
                          s->deadline - kept, &answer);
        aws_answer_free(&answer);
    } while (r == RESULT_THROTTLED && !answer.maybe_done && kept > KEPT_MS);
    json_object_put(body);
    /* Also after a conflict, which may be with the item of its own first
     * sending. */
    if (r != RESULT_OK && answer.maybe_done)
        r = dynamodb_resolve(s, l, token);
    if (r == RESULT_CONFLICT || r == RESULT_OK)
        buf_reset(&s->error);
    return r;
}

static enum result dynamodb_get(struct store *s, const char *short_id,
                                enum store_view view, struct link *out)
{
    json_object *item = NULL;
    const bool whole = view == STORE_WHOLE;
    enum result r = read_item(s, short_id, view, whole, &item);
    /* An eventually consistent read costs half. What it does not find may have
     * been created a moment ago, so that is read once more. */
    if (r == RESULT_NOT_FOUND && !whole)
        r = read_item(s, short_id, view, true, &item);
    if (r != RESULT_OK)
        return r;
    r = dynamodb_item_decode(item, out);
    json_object_put(item);
    if (r == RESULT_CORRUPT)
        return store_fail(s, r,
                          "the item %s on table %s has no long_url that "
                          "is a string",
                          short_id, s->conf->table);
    if (r != RESULT_OK)
        return r;
    if (out->short_id == NULL)
        out->short_id = mem_dup(short_id);
    return RESULT_OK;
}

/* Sends a write whose condition is that the link exists. */
static enum result dynamodb_write(struct store *s, const char *action,
                                  json_object *body, unsigned how,
                                  struct aws_answer *answer)
{
    enum result r = dynamodb_call(s, action, body, how, s->deadline, answer);
    aws_answer_free(answer);
    if (r == RESULT_CONFLICT) {
        buf_reset(&s->error);
        return RESULT_NOT_FOUND;
    }
    /* store_error() is there from dynamodb_call(). */
    return r != RESULT_OK && answer->maybe_done ? RESULT_UNKNOWN : r;
}

/* The link's item is replaced by its id and the time. */
static enum result dynamodb_remove(struct store *s, const char *short_id)
{
    struct aws_answer answer;
    json_object *item = json_object_new_object();
    json_object_object_add(item, "short_id", dynamodb_item_string(short_id));
    json_object_object_add(item, "deleted_at",
                           dynamodb_item_number((uint64_t)clock_now()));
    json_object *body = request_for(s);
    json_object_object_add(body, "Item", item);
    json_add_text(body, "ConditionExpression", "attribute_exists(long_url)");
    enum result r = dynamodb_write(s, "PutItem", body, MAY_REPEAT, &answer);
    /* Sent twice and not found: most likely deleted by the first sending. The
     * link is gone in any case. */
    return r == RESULT_NOT_FOUND && answer.maybe_done ? RESULT_OK : r;
}

/* Sets what the link has of its fields and removes the others. The token tells
 * an update whose answer was lost from that of another writer. */
static enum result dynamodb_update(struct store *s, const struct link *l)
{
    char token[IDS_MAX + 1];
    struct buf set, removed;
    struct link next = *l; /* only read */
    next.version++;
    if (ids_make(TOKEN_LENGTH, TOKEN_LENGTH, token) != RESULT_OK)
        return store_fail(s, RESULT_INTERNAL, "OpenSSL RAND_bytes failed");
    json_object *body = request_for_key(s, l->short_id);
    buf_init(&set, EXPRESSION_MAX);
    buf_init(&removed, EXPRESSION_MAX);
    buf_add_str(&set, "SET long_url = :long_url, " TOKEN_NAME " = :token");
    add_value(body, "long_url", dynamodb_item_string(l->long_url));
    add_value(body, "token", dynamodb_item_string(token));
    add_name(body, "ttl");
    if (l->ttl != LINK_NEVER) {
        buf_add_str(&set, ", #ttl = :ttl");
        add_value(body, "ttl", dynamodb_item_number((uint64_t)l->ttl));
    }
    buf_add_str(&removed, l->ttl != LINK_NEVER ? "" : " REMOVE #ttl");
    for (size_t i = 0; i < LINK_FIELDS; i++) {
        const char *name = link_fields[i].name;
        json_object *value = dynamodb_item_field(&next, i);
        if (i == LINK_FIELD_KEY) {
            json_object_put(value);
            continue;
        }
        add_name(body, name);
        if (value != NULL) {
            buf_addf(&set, ", #%s = :%s", name, name);
            add_value(body, name, value);
        } else {
            buf_addf(&removed, "%s#%s", removed.len > 0 ? ", " : " REMOVE ",
                     name);
        }
    }
    buf_add_str(&set, removed.data);
    json_add_text(body, "UpdateExpression", set.data);
    json_add_text(body, "ConditionExpression",
                  l->version == 0 ? "attribute_exists(long_url) AND "
                                    "attribute_not_exists(#version)"
                                  : "attribute_exists(long_url) AND "
                                    "#version = :old");
    if (l->version != 0)
        add_value(body, "old", dynamodb_item_number(l->version));
    buf_free(&set);
    buf_free(&removed);

    struct aws_answer answer;
    enum result r =
        dynamodb_call(s, "UpdateItem", body, MAY_REPEAT, s->deadline, &answer);
    aws_answer_free(&answer);
    if (r != RESULT_OK && answer.maybe_done)
        return dynamodb_resolve(s, l, token);
    return r == RESULT_CONFLICT ? find_conflict(s, l->short_id) : r;
}

static enum result dynamodb_spend_hit(struct store *s, const char *short_id)
{
    struct aws_answer answer;
    json_object *body = request_for_key(s, short_id);
    json_add_text(body, "UpdateExpression", "ADD hits :n");
    add_value(body, "n", dynamodb_item_number(1));
    add_value(body, "record", dynamodb_item_string("~"));
    json_add_text(body, "ConditionExpression",
                  LINK_EXISTS " AND NOT begins_with(short_id, :record) AND "
                              "(attribute_not_exists(max_hits) OR "
                              "attribute_not_exists(hits) OR hits < max_hits)");
    enum result r =
        dynamodb_call(s, "UpdateItem", body, ONCE, s->deadline, &answer);
    aws_answer_free(&answer);
    return r != RESULT_OK && answer.maybe_done ? RESULT_UNKNOWN : r;
}

/* ---- Records --------------------------------------------------------- */

static enum result dynamodb_record_get(struct store *s, const char *key,
                                       bool consistent,
                                       struct store_record *out)
{
    json_object *item = NULL;
    enum result r = read_item(s, key, STORE_WHOLE, consistent, &item);
    if (r != RESULT_OK)
        return r;
    const uint64_t ttl = dynamodb_item_number_at(item, "ttl");
    /* DynamoDB removes what has expired some time later. */
    if (ttl != 0 && link_expired((int64_t)ttl, clock_now())) {
        r = RESULT_NOT_FOUND;
    } else {
        out->value = dynamodb_item_plain(item);
        out->version = dynamodb_item_number_at(item, "version");
        out->ttl = ttl != 0 ? (int64_t)ttl : LINK_NEVER;
    }
    json_object_put(item);
    return r;
}

static enum result dynamodb_record_put(struct store *s, const char *key,
                                       const struct store_record *record)
{
    json_object *item = dynamodb_item_attributes(record->value);
    json_object_object_add(item, "short_id", dynamodb_item_string(key));
    json_object_object_add(item, "version",
                           dynamodb_item_number(record->version + 1));
    if (record->ttl != LINK_NEVER)
        json_object_object_add(item, "ttl",
                               dynamodb_item_number((uint64_t)record->ttl));
    json_object *body = request_for(s);
    json_object_object_add(body, "Item", json_object_get(item));
    if (record->version == 0) {
        add_name(body, "ttl");
        add_value(body, "now", dynamodb_item_number((uint64_t)clock_now()));
        json_add_text(body, "ConditionExpression",
                      "attribute_not_exists(short_id) OR #ttl <= :now");
    } else {
        add_name(body, "version");
        add_value(body, "old", dynamodb_item_number(record->version));
        json_add_text(body, "ConditionExpression", "#version = :old");
    }
    struct aws_answer answer;
    enum result r =
        dynamodb_call(s, "PutItem", body, MAY_REPEAT, s->deadline, &answer);
    aws_answer_free(&answer);
    if (r != RESULT_OK && answer.maybe_done) {
        json_object *stored = NULL;
        r = read_back(s, key, &stored);
        if (r == RESULT_OK && !json_object_equal(item, stored))
            r = RESULT_CONFLICT;
        json_object_put(stored);
    }
    json_object_put(item);
    return r;
}

static enum result dynamodb_purge(struct store *s, const char *key)
{
    struct aws_answer answer;
    json_object *body = request_for_key(s, key);
    json_add_text(body, "ConditionExpression", "attribute_exists(short_id)");
    enum result r = dynamodb_write(s, "DeleteItem", body, MAY_REPEAT, &answer);
    return r == RESULT_NOT_FOUND && answer.maybe_done ? RESULT_OK : r;
}

static enum result dynamodb_record_count(struct store *s, const char *key,
                                         uint64_t n, int64_t ttl,
                                         uint64_t *total)
{
    struct aws_answer answer;
    json_object *body = request_for_key(s, key), *attributes = NULL;
    add_name(body, "ttl");
    add_name(body, "used");
    add_value(body, "n", dynamodb_item_number(n));
    add_value(body, "ttl", dynamodb_item_number((uint64_t)ttl));
    json_add_text(body, "UpdateExpression", "ADD #used :n SET #ttl = :ttl");
    json_add_text(body, "ReturnValues", "UPDATED_NEW");
    enum result r =
        dynamodb_call(s, "UpdateItem", body, ONCE, s->deadline, &answer);
    if (r == RESULT_OK) {
        json_object_object_get_ex(answer.body, "Attributes", &attributes);
        *total = dynamodb_item_number_at(attributes, "used");
    }
    aws_answer_free(&answer);
    return r != RESULT_OK && answer.maybe_done ? RESULT_UNKNOWN : r;
}

/* Whether nothing can be added to the hits of the item in an answer of GetItem:
 * they are not a number, or one at the limit of 38 digits; or the item is at
 * the limit of 400 KB, which is 100 read units. */
static bool item_is_full(json_object *answer, json_object *item)
{
    json_object *hits = NULL, *number = NULL, *capacity = NULL, *units = NULL;
    if (json_object_object_get_ex(item, "hits", &hits) &&
        (!json_object_object_get_ex(hits, "N", &number) ||
         json_object_get_string_len(number) >= DIGITS_MAX))
        return true;
    return json_object_object_get_ex(answer, "ConsumedCapacity", &capacity) &&
           json_object_object_get_ex(capacity, "CapacityUnits", &units) &&
           json_object_get_double(units) >= ITEM_UNITS_MAX;
}

/* After a flush that DynamoDB calls invalid: whether it is due to this item, or
 * to the table, such as a write isolation of Alternator that forbids
 * conditions. In the latter case the hits are kept. The text of the refusal is
 * not parsed: it is for people. */
static enum result dynamodb_blame(struct store *s, const char *short_id)
{
    char *refusal = mem_dup(s->error.data);
    json_object *body = get_request(s, short_id, STORE_WHOLE, true);
    json_add_text(body, "ReturnConsumedCapacity", "TOTAL");
    struct aws_answer answer;
    enum result r = dynamodb_call(s, "GetItem", body, MAY_REPEAT | GIVES_WAY,
                                  s->deadline, &answer);
    json_object *item = NULL;
    if (r == RESULT_OK &&
        !json_object_object_get_ex(answer.body, "Item", &item))
        r = RESULT_NOT_FOUND;
    else if (r == RESULT_OK)
        r = store_fail(s,
                       item_is_full(answer.body, item) ? RESULT_CORRUPT
                                                       : RESULT_UNAVAILABLE,
                       "%s", refusal);
    aws_answer_free(&answer);
    free(refusal);
    return r;
}

static enum result dynamodb_add_hits(struct store *s, const char *short_id,
                                     uint64_t n,
                                     const struct store_flush *flush)
{
    json_object *values = json_object_new_object();
    json_object_object_add(values, ":n", dynamodb_item_number(n));
    json_object *body = request_for_key(s, short_id);
    json_object_object_add(body, "ExpressionAttributeValues", values);
    struct aws_answer answer;
    if (flush == NULL) {
        json_add_text(body, "UpdateExpression", "ADD hits :n");
        json_add_text(body, "ConditionExpression", LINK_EXISTS);
        /* Never sent twice, which would count twice. */
        return dynamodb_write(s, "UpdateItem", body, ONCE, &answer);
    }
    /* Can be repeated: DESIGN, "The redirect path". */
    json_object *names = json_object_new_object();
    char *node = mem_printf("node_%s", flush->node);
    json_add_text(names, "#node", node);
    free(node);
    json_object_object_add(body, "ExpressionAttributeNames", names);
    json_object_object_add(values, ":seq", dynamodb_item_number(flush->seq));
    json_add_text(body, "UpdateExpression", "ADD hits :n SET #node = :seq");
    json_add_text(body, "ConditionExpression",
                  LINK_EXISTS
                  " AND (attribute_not_exists(#node) OR #node < :seq)");
    /* Links and visitors first. */
    enum result r =
        dynamodb_write(s, "UpdateItem", body, MAY_REPEAT | GIVES_WAY, &answer);
    if (strcmp(answer.type, "ValidationException") == 0)
        return dynamodb_blame(s, short_id);
    /* The condition failed: the link is gone, or has this flush already. */
    return r == RESULT_NOT_FOUND ? find_conflict(s, short_id) : r;
}

static void dynamodb_tend(struct store *s)
{
    const struct store_dynamodb *d = (struct store_dynamodb *)s;
    aws_credentials_tend(aws_client_credentials(d->aws),
                         clock_monotonic_ms() + TEND_LIMIT_MS);
}

const struct store_ops store_dynamodb_ops = {
    .name = "dynamodb",
    .identity = dynamodb_identity,
    .make = dynamodb_make,
    .release = dynamodb_release,
    .create = dynamodb_create,
    .get = dynamodb_get,
    .update = dynamodb_update,
    .spend_hit = dynamodb_spend_hit,
    .record_get = dynamodb_record_get,
    .record_put = dynamodb_record_put,
    .record_count = dynamodb_record_count,
    .remove = dynamodb_remove,
    .purge = dynamodb_purge,
    .add_hits = dynamodb_add_hits,
    .tend = dynamodb_tend,
    .table_create = dynamodb_table_create,
    .table_check = dynamodb_table_check,
    .inspect = dynamodb_doctor,
};
