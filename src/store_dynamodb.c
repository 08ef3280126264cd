/*
 * The store on a DynamoDB table. Each operation is one call; a create whose
 * answer was lost reads back what became of it, and a link that an eventually
 * consistent read does not find is asked for once more, consistently.
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "aws_client.h"
#include "clock.h"
#include "dynamodb_doctor.h"
#include "dynamodb_item.h"
#include "dynamodb_table.h"
#include "ids.h"
#include "json.h"
#include "mem.h"
#include "store.h"

/* Tells one create from another: letters and digits, 131 random bits. */
#define TOKEN_NAME   "creation_token"
#define TOKEN_LENGTH 22

/* A create that is throttled is given up with so many milliseconds left. */
#define KEPT_MS 100

/* DynamoDB's limits: digits of a number; read units of the largest item. */
#define DIGITS_MAX     38
#define ITEM_UNITS_MAX 100

/* How long the janitor waits for fresh credentials, in milliseconds: nobody
 * waits for it. */
#define TEND_LIMIT_MS 10000

struct store_dynamodb {
    struct store base;
    struct aws_client *aws;
};

static struct store_dynamodb *of_store(struct store *s)
{
    return (struct store_dynamodb *)s;
}

static struct store *dynamodb_make(const struct conf *conf, bool pooled)
{
    struct store_dynamodb *d = mem_zalloc(sizeof(*d));
    d->aws = aws_client_new(conf, pooled);
    return &d->base;
}

static void dynamodb_release(struct store *s)
{
    aws_client_free(of_store(s)->aws);
    free(of_store(s));
}

/* When an operation that begins now has to end. */
static int64_t deadline_of(const struct store *s)
{
    const int64_t own =
        clock_monotonic_ms() + (int64_t)s->conf->store_timeout * 1000;
    return s->limit != 0 && s->limit < own ? s->limit : own;
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
    struct aws_client *aws = of_store(s)->aws;
    enum result r = aws_client_call(aws, &request, answer);
    json_object_put(body);
    if (r == RESULT_OK)
        return r;
    /* What a link's reader must not take for a missing or an unusable link:
     * it is the table that is missing, or has another key. */
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

static json_object *get_request(const struct store *s, const char *short_id,
                                enum store_view view, bool consistent)
{
    json_object *body = request_for_key(s, short_id);
    json_object_object_add(body, "ConsistentRead",
                           json_object_new_boolean(consistent));
    if (view != STORE_WHOLE) {
        /* ttl is one of DynamoDB's reserved words. */
        json_object *names = json_object_new_object();
        json_add_text(names, "#ttl", "ttl");
        json_object_object_add(body, "ExpressionAttributeNames", names);
        json_add_text(body, "ProjectionExpression", "short_id, long_url, #ttl");
    }
    return body;
}

/* ---- Operations ------------------------------------------------------ */

/* Reads the stored item into *item, which the caller releases. A reader who
 * has an old answer gives way. */
static enum result read_item(struct store *s, const char *short_id,
                             enum store_view view, bool consistent,
                             int64_t deadline, json_object **item)
{
    struct aws_answer answer;
    const unsigned how = MAY_REPEAT | (view == STORE_REFRESH ? GIVES_WAY : 0);
    enum result r =
        dynamodb_call(s, "GetItem", get_request(s, short_id, view, consistent),
                      how, deadline, &answer);
    if (r != RESULT_OK)
        return r;
    if (json_object_object_get_ex(answer.body, "Item", item))
        json_object_get(*item);
    else
        r = RESULT_NOT_FOUND;
    aws_answer_free(&answer);
    return r;
}

static bool has_text(json_object *item, const char *name, const char *text)
{
    json_object *value = NULL, *string = NULL;
    return json_object_object_get_ex(item, name, &value) &&
           json_object_object_get_ex(value, "S", &string) &&
           json_object_is_type(string, json_type_string) &&
           strcmp(json_object_get_string(string), text) == 0;
}

/* What became of the PutItem of l with token, whose answer was lost: is its
 * item the one that is stored now? */
static enum result dynamodb_resolve(struct store *s, const struct link *l,
                                    const char *token, int64_t deadline)
{
    char *lost = mem_dup(s->error.data);
    json_object *stored = NULL;
    enum result r =
        read_item(s, l->short_id, STORE_WHOLE, true, deadline, &stored);
    if (r == RESULT_OK) {
        bool own = has_text(stored, TOKEN_NAME, token) &&
                   has_text(stored, "long_url", l->long_url);
        r = own ? RESULT_OK : RESULT_CONFLICT;
        json_object_put(stored);
    } else if (r == RESULT_NOT_FOUND) {
        /* The write may still be on its way. */
        r = store_fail(s, RESULT_UNKNOWN,
                       "%s; reading it back found no item yet", lost);
    } else {
        char *why = mem_dup(s->error.data);
        r = store_fail(s, RESULT_UNKNOWN, "%s; reading it back failed, too: %s",
                       lost, why);
        free(why);
    }
    free(lost);
    return r;
}

/* Whether the times of a new link would be right: its ttl decides when DynamoDB
 * deletes it. A difference of the clocks that was too large is looked at again,
 * with a read. */
static enum result check_clock(struct store *s, const char *short_id)
{
    int64_t ahead;
    json_object *item = NULL;
    if (!aws_client_server_ahead(of_store(s)->aws, &ahead) ||
        llabs(ahead) <= AWS_CLIENT_SKEW_MAX)
        return RESULT_OK;
    enum result r =
        read_item(s, short_id, STORE_TARGET, false, deadline_of(s), &item);
    json_object_put(item);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    if (!aws_client_server_ahead(of_store(s)->aws, &ahead) ||
        llabs(ahead) <= AWS_CLIENT_SKEW_MAX)
        return RESULT_OK;
    return store_fail(s, RESULT_UNAVAILABLE,
                      "this host's clock is %lld s %s DynamoDB's, so the times "
                      "of a new link would be wrong; set it",
                      (long long)llabs(ahead),
                      ahead > 0 ? "behind" : "ahead of");
}

static enum result dynamodb_create(struct store *s, const struct link *l)
{
    char token[IDS_MAX + 1];
    json_object *item;
    enum result r = check_clock(s, l->short_id);
    if (r != RESULT_OK)
        return r;
    if (ids_make(TOKEN_LENGTH, TOKEN_LENGTH, token) != RESULT_OK)
        return store_fail(s, RESULT_INTERNAL,
                          "no random numbers can be had from OpenSSL");
    if (dynamodb_item_encode(l, &item) != RESULT_OK)
        return store_fail(s, RESULT_INVALID, "analytics is no JSON object");
    json_object_object_add(item, TOKEN_NAME, dynamodb_item_string(token));
    json_object *body = request_for(s);
    json_object_object_add(body, "Item", item);
    json_add_text(body, "ConditionExpression",
                  "attribute_not_exists(short_id)");

    /* A third of the time is kept for reading back, and used if it is known
     * that there is nothing to read. */
    const int64_t end = deadline_of(s);
    struct aws_answer answer;
    int64_t kept;
    do {
        kept = (end - clock_monotonic_ms()) / 3;
        r = dynamodb_call(s, "PutItem", json_object_get(body), MAY_REPEAT,
                          end - kept, &answer);
        aws_answer_free(&answer);
    } while (r == RESULT_THROTTLED && !answer.maybe_done && kept > KEPT_MS);
    json_object_put(body);
    /* Also after a conflict: it may have met the item of its own first
     * sending. */
    if (r != RESULT_OK && answer.maybe_done)
        r = dynamodb_resolve(s, l, token, end);
    if (r == RESULT_CONFLICT || r == RESULT_OK)
        buf_reset(&s->error);
    return r;
}

/* Reads what a redirect needs. An eventually consistent read costs half; what
 * it does not find may have been made a moment ago, so that is asked for once
 * more. */
static enum result read_target(struct store *s, const char *short_id,
                               enum store_view view, int64_t deadline,
                               json_object **item)
{
    enum result r = read_item(s, short_id, view, false, deadline, item);
    if (r == RESULT_NOT_FOUND)
        r = read_item(s, short_id, view, true, deadline, item);
    return r;
}

static enum result dynamodb_get(struct store *s, const char *short_id,
                                enum store_view view, struct link *out)
{
    json_object *item = NULL;
    const int64_t deadline = deadline_of(s);
    enum result r = view != STORE_WHOLE
                        ? read_target(s, short_id, view, deadline, &item)
                        : read_item(s, short_id, view, true, deadline, &item);
    if (r != RESULT_OK)
        return r;
    r = dynamodb_item_decode(item, out);
    json_object_put(item);
    if (r != RESULT_OK)
        return store_fail(s, r,
                          "the item %s on table %s has no long_url that "
                          "is a string",
                          short_id, s->conf->table);
    if (out->short_id == NULL)
        out->short_id = mem_dup(short_id);
    return RESULT_OK;
}

/* Sends a write whose condition is that the link exists. */
static enum result write_existing(struct store *s, const char *action,
                                  json_object *body, unsigned how,
                                  struct aws_answer *answer)
{
    enum result r = dynamodb_call(s, action, body, how, deadline_of(s), answer);
    aws_answer_free(answer);
    if (r == RESULT_CONFLICT) {
        buf_reset(&s->error);
        return RESULT_NOT_FOUND;
    }
    /* store_error() is there from dynamodb_call(). */
    return r != RESULT_OK && answer->maybe_done ? RESULT_UNKNOWN : r;
}

static enum result delete_item(struct store *s, const char *short_id)
{
    struct aws_answer answer;
    json_object *body = request_for_key(s, short_id);
    json_add_text(body, "ConditionExpression", "attribute_exists(short_id)");
    enum result r = write_existing(s, "DeleteItem", body, MAY_REPEAT, &answer);
    /* Sent twice and not found: most likely gone by the first sending. In any
     * case what was asked for is so. */
    return r == RESULT_NOT_FOUND && answer.maybe_done ? RESULT_OK : r;
}

/* After a flush whose condition failed: is the link gone, or has it seen this
 * flush already? */
static enum result tell_apart(struct store *s, const char *short_id)
{
    json_object *item = NULL;
    enum result r =
        read_item(s, short_id, STORE_REFRESH, true, deadline_of(s), &item);
    json_object_put(item);
    return r == RESULT_OK ? RESULT_CONFLICT : r;
}

/* Whether nothing can be added to the hits of the item in an answer of GetItem:
 * they are not a number, or one at the limit of 38 digits; or the item is at
 * the limit of 400 KB, which is 100 read units. */
static bool is_to_blame(json_object *answer, json_object *item)
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

/* After a flush that DynamoDB calls invalid: is it this item, or the table,
 * such as a write isolation of Alternator that forbids conditions? Hits outlast
 * the latter. The text of the refusal does not tell: it is for people. */
static enum result dynamodb_blame(struct store *s, const char *short_id)
{
    char *refusal = mem_dup(s->error.data);
    json_object *body = get_request(s, short_id, STORE_WHOLE, true);
    json_add_text(body, "ReturnConsumedCapacity", "TOTAL");
    struct aws_answer answer;
    enum result r = dynamodb_call(s, "GetItem", body, MAY_REPEAT | GIVES_WAY,
                                  deadline_of(s), &answer);
    json_object *item = NULL;
    if (r == RESULT_OK &&
        !json_object_object_get_ex(answer.body, "Item", &item))
        r = RESULT_NOT_FOUND;
    else if (r == RESULT_OK)
        r = store_fail(s,
                       is_to_blame(answer.body, item) ? RESULT_CORRUPT
                                                      : RESULT_UNAVAILABLE,
                       "%s", refusal);
    aws_answer_free(&answer);
    free(refusal);
    return r;
}

/* Makes an UpdateItem one that can be repeated: DESIGN, "The redirect path". */
static void add_flush(json_object *body, json_object *values,
                      const struct store_flush *flush)
{
    json_object *names = json_object_new_object();
    char *node = mem_printf("node_%s", flush->node);
    json_add_text(names, "#node", node);
    free(node);
    json_object_object_add(body, "ExpressionAttributeNames", names);
    json_object_object_add(values, ":seq", dynamodb_item_number(flush->seq));
    json_add_text(body, "UpdateExpression", "ADD hits :n SET #node = :seq");
    json_add_text(body, "ConditionExpression",
                  "attribute_exists(short_id) AND "
                  "(attribute_not_exists(#node) OR #node < :seq)");
}

static enum result add_hits(struct store *s, const char *short_id, uint64_t n,
                            const struct store_flush *flush)
{
    json_object *values = json_object_new_object();
    json_object_object_add(values, ":n", dynamodb_item_number(n));
    json_object *body = request_for_key(s, short_id);
    json_object_object_add(body, "ExpressionAttributeValues", values);
    struct aws_answer answer;
    if (flush == NULL) {
        json_add_text(body, "UpdateExpression", "ADD hits :n");
        json_add_text(body, "ConditionExpression",
                      "attribute_exists(short_id)");
        /* Never sent twice: it would count twice. */
        return write_existing(s, "UpdateItem", body, ONCE, &answer);
    }
    add_flush(body, values, flush);
    /* Links and visitors first. */
    enum result r =
        write_existing(s, "UpdateItem", body, MAY_REPEAT | GIVES_WAY, &answer);
    if (strcmp(answer.type, "ValidationException") == 0)
        return dynamodb_blame(s, short_id);
    return r == RESULT_NOT_FOUND ? tell_apart(s, short_id) : r;
}

static enum result dynamodb_expire(struct store *s, int64_t now, unsigned limit,
                                   unsigned *removed)
{
    /* DynamoDB removes expired items itself, by the ttl attribute. */
    (void)s, (void)now, (void)limit;
    *removed = 0;
    return RESULT_OK;
}

static void dynamodb_tend(struct store *s)
{
    aws_client_tend(of_store(s)->aws, clock_monotonic_ms() + TEND_LIMIT_MS);
}

static enum result table_create(struct store *s,
                                const struct store_table *wanted)
{
    struct buf error;
    buf_init(&error, s->error.max);
    enum result r =
        dynamodb_table_create(of_store(s)->aws, s->conf, wanted, &error);
    if (r != RESULT_OK)
        r = store_fail(s, r, "%s", error.data);
    buf_free(&error);
    return r;
}

static enum result table_check(struct store *s, struct buf *findings)
{
    enum result r = dynamodb_table_check(of_store(s)->aws, s->conf, findings);
    if (r != RESULT_OK && r != RESULT_INVALID)
        r = store_fail(s, r, "%s", aws_client_error(of_store(s)->aws));
    return r;
}

static void dynamodb_inspect(struct store *s, struct report *report)
{
    dynamodb_doctor(of_store(s)->aws, s->conf, report);
}

static enum result table_notes(struct store *s, struct buf *notes)
{
    enum result r = dynamodb_table_notes(of_store(s)->aws, s->conf, notes);
    if (r != RESULT_OK)
        r = store_fail(s, r, "%s", aws_client_error(of_store(s)->aws));
    return r;
}

const struct store_ops store_dynamodb_ops = {
    .name = "dynamodb",
    .make = dynamodb_make,
    .release = dynamodb_release,
    .create = dynamodb_create,
    .get = dynamodb_get,
    .remove = delete_item,
    .add_hits = add_hits,
    .expire = dynamodb_expire,
    .tend = dynamodb_tend,
    .table_create = table_create,
    .table_check = table_check,
    .table_notes = table_notes,
    .inspect = dynamodb_inspect,
};
