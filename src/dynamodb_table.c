#include "dynamodb_table.h"

#include <json-c/json.h>
#include <string.h>

#include "aws_endpoint.h"
#include "clock.h"
#include "dynamodb_describe.h"
#include "dynamodb_shape.h"
#include "json.h"

/* Between two looks at a table that is being made or changed. */
#define POLL_MS 250

/* ---- Requests -------------------------------------------------------- */

/* Adds {name: value} pairs of strings as one object to list. */
static void add_pair(json_object *list, const char *name_1, const char *value_1,
                     const char *name_2, const char *value_2)
{
    json_object *pair = json_object_new_object();
    json_add_text(pair, name_1, value_1);
    json_add_text(pair, name_2, value_2);
    json_object_array_add(list, pair);
}

static json_object *tags_of(const struct store_table *wanted)
{
    json_object *tags = json_object_new_array();
    for (size_t i = 0; i < wanted->tag_count; i++)
        add_pair(tags, "Key", wanted->tags[i].key, "Value",
                 wanted->tags[i].value);
    return tags;
}

static void add_billing(json_object *body, const struct store_table *wanted)
{
    bool provisioned = wanted->billing == STORE_BILLING_PROVISIONED;
    json_add_text(body, "BillingMode",
                  provisioned ? "PROVISIONED" : "PAY_PER_REQUEST");
    if (!provisioned)
        return;
    json_object *units = json_object_new_object();
    json_object_object_add(units, "ReadCapacityUnits",
                           json_object_new_uint64(wanted->read_units));
    json_object_object_add(units, "WriteCapacityUnits",
                           json_object_new_uint64(wanted->write_units));
    json_object_object_add(body, "ProvisionedThroughput", units);
}

static json_object *create_request(const struct conf *conf,
                                   const struct store_table *wanted)
{
    json_object *keys = json_object_new_array();
    add_pair(keys, "AttributeName", DYNAMODB_KEY, "KeyType", "HASH");
    json_object *types = json_object_new_array();
    add_pair(types, "AttributeName", DYNAMODB_KEY, "AttributeType", "S");
    json_object *body = dynamodb_request(conf);
    json_object_object_add(body, "KeySchema", keys);
    json_object_object_add(body, "AttributeDefinitions", types);
    add_billing(body, wanted);
    if (wanted->deletion_protection)
        json_object_object_add(body, "DeletionProtectionEnabled",
                               json_object_new_boolean(true));
    if (wanted->tag_count > 0)
        json_object_object_add(body, "Tags", tags_of(wanted));
    return body;
}

/* ---- Looking --------------------------------------------------------- */

static struct dynamodb_place place_of(const struct aws_client *aws,
                                      const struct conf *conf)
{
    return (struct dynamodb_place){.table = conf->table,
                                   .region = aws_client_region(aws),
                                   .endpoint = aws_endpoint_configured(conf)};
}

/* The table, and its time to live if it can be asked for. */
static enum result table_describe(struct aws_client *aws,
                                  const struct conf *conf,
                                  struct dynamodb_shape *out)
{
    enum result r = dynamodb_describe_table(aws, conf, out);
    if (r == RESULT_OK && dynamodb_shape_is_usable(out))
        r = dynamodb_describe_ttl(aws, conf, out);
    return r;
}

enum result dynamodb_table_check(struct aws_client *aws,
                                 const struct conf *conf, struct buf *findings)
{
    struct dynamodb_shape shape;
    enum result r = table_describe(aws, conf, &shape);
    const struct dynamodb_place place = place_of(aws, conf);
    if (r == RESULT_NOT_FOUND)
        dynamodb_shape_missing(&place, findings);
    if (r != RESULT_OK)
        return r;
    size_t before = findings->len;
    dynamodb_shape_differences(&shape, &place, findings);
    return findings->len == before ? RESULT_OK : RESULT_INVALID;
}

enum result dynamodb_table_notes(struct aws_client *aws,
                                 const struct conf *conf, struct buf *notes)
{
    struct dynamodb_shape shape;
    enum result r = table_describe(aws, conf, &shape);
    if (r != RESULT_OK || !dynamodb_shape_is_usable(&shape))
        return r;
    dynamodb_describe_backups(aws, conf, &shape);
    const struct dynamodb_place place = place_of(aws, conf);
    dynamodb_shape_notes(&shape, &place, notes);
    return RESULT_OK;
}

/* ---- Making ---------------------------------------------------------- */

/* What making works with. */
struct making {
    struct aws_client *aws;
    const struct conf *conf;
    const struct store_table *wanted;
    struct buf *error;
    struct dynamodb_shape shape;
    bool made;   /* by this call: it was not there before */
    int64_t end; /* of all waiting, of clock_monotonic_ms() */
};

/* Sends a change of the table; body is released. While the table is busy with
 * an earlier change DynamoDB refuses, and it is sent again. */
static enum result table_change(struct making *m, const char *action,
                                json_object *body)
{
    for (;;) {
        struct aws_answer answer;
        enum result r = dynamodb_call(m->aws, m->conf, action,
                                      json_object_get(body), &answer);
        aws_answer_free(&answer);
        if (r != RESULT_CONFLICT || clock_monotonic_ms() > m->end) {
            json_object_put(body);
            return r == RESULT_CONFLICT ? RESULT_UNAVAILABLE : r;
        }
        clock_pause_ms(POLL_MS);
    }
}

static enum result make_table(struct making *m)
{
    struct aws_answer answer;
    enum result r = dynamodb_call(m->aws, m->conf, "CreateTable",
                                  create_request(m->conf, m->wanted), &answer);
    aws_answer_free(&answer);
    m->made = r == RESULT_OK;
    /* There already. */
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}

/* Waits until the table can be used, or is in a state that does not pass. One
 * that was just asked for may not be visible yet. */
static enum result wait_active(struct making *m)
{
    for (;;) {
        enum result r = dynamodb_describe_table(m->aws, m->conf, &m->shape);
        bool waiting =
            r == RESULT_NOT_FOUND ||
            (r == RESULT_OK && strcmp(m->shape.status, "CREATING") == 0);
        if (!waiting || clock_monotonic_ms() > m->end)
            return r;
        clock_pause_ms(POLL_MS);
    }
}

/* Sends a change of which *error is to say why it failed. */
static enum result change_or_say(struct making *m, const char *action,
                                 json_object *body)
{
    enum result r = table_change(m, action, body);
    if (r != RESULT_OK)
        buf_add_str(m->error, aws_client_error(m->aws));
    return r;
}

static enum result complete_ttl(struct making *m)
{
    enum result r = dynamodb_describe_ttl(m->aws, m->conf, &m->shape);
    if (r != RESULT_OK || !m->shape.ttl_known ||
        dynamodb_shape_has_ttl(&m->shape))
        return r;
    json_object *ttl = json_object_new_object();
    json_add_text(ttl, "AttributeName", DYNAMODB_TTL);
    json_object_object_add(ttl, "Enabled", json_object_new_boolean(true));
    json_object *body = dynamodb_request(m->conf);
    json_object_object_add(body, "TimeToLiveSpecification", ttl);
    r = change_or_say(m, "UpdateTimeToLive", body);
    if (r != RESULT_OK && r != RESULT_INVALID)
        return r;
    /* Another one may have turned it on meanwhile, which is refused. */
    enum result again = dynamodb_describe_ttl(m->aws, m->conf, &m->shape);
    if (again != RESULT_OK || !dynamodb_shape_has_ttl(&m->shape))
        return r != RESULT_OK ? r : again;
    buf_reset(m->error);
    return RESULT_OK;
}

static enum result complete_protection(struct making *m)
{
    if (!m->wanted->deletion_protection || m->shape.protection == DYNAMODB_ON)
        return RESULT_OK;
    json_object *body = dynamodb_request(m->conf);
    json_object_object_add(body, "DeletionProtectionEnabled",
                           json_object_new_boolean(true));
    enum result r = change_or_say(m, "UpdateTable", body);
    if (r != RESULT_OK || m->shape.protection != DYNAMODB_UNKNOWN)
        return r;
    /* A server that does not know it may ignore it without a word. */
    struct dynamodb_shape now;
    r = dynamodb_describe_table(m->aws, m->conf, &now);
    if (r != RESULT_OK || now.protection != DYNAMODB_UNKNOWN)
        return r;
    buf_addf(m->error, "table %s: this server has no deletion protection",
             m->conf->table);
    return RESULT_INVALID;
}

static enum result complete_backups(struct making *m)
{
    if (!m->wanted->point_in_time_recovery)
        return RESULT_OK;
    json_object *on = json_object_new_object();
    json_object_object_add(on, "PointInTimeRecoveryEnabled",
                           json_object_new_boolean(true));
    json_object *body = dynamodb_request(m->conf);
    json_object_object_add(body, "PointInTimeRecoverySpecification", on);
    return change_or_say(m, "UpdateContinuousBackups", body);
}

/* CreateTable has tagged a new table. */
static enum result complete_tags(struct making *m)
{
    if (m->made || m->wanted->tag_count == 0)
        return RESULT_OK;
    json_object *body = json_object_new_object();
    json_add_text(body, "ResourceArn", m->shape.arn);
    json_object_object_add(body, "Tags", tags_of(m->wanted));
    return change_or_say(m, "TagResource", body);
}

static enum result table_complete(struct making *m)
{
    enum result r = complete_ttl(m);
    if (r == RESULT_OK)
        r = complete_protection(m);
    if (r == RESULT_OK)
        r = complete_backups(m);
    if (r == RESULT_OK)
        r = complete_tags(m);
    return r;
}

enum result dynamodb_table_create(struct aws_client *aws,
                                  const struct conf *conf,
                                  const struct store_table *wanted,
                                  struct buf *error)
{
    struct making m = {.aws = aws,
                       .conf = conf,
                       .wanted = wanted,
                       .error = error,
                       .end = clock_monotonic_ms() +
                              (int64_t)DYNAMODB_TABLE_WAIT * 1000};
    enum result r = make_table(&m);
    if (r == RESULT_OK)
        r = wait_active(&m);
    /* One that is not curt's is left alone. */
    if (r == RESULT_OK && m.shape.key_fits &&
        dynamodb_shape_is_usable(&m.shape))
        r = table_complete(&m);
    if (r != RESULT_OK) {
        if (error->len == 0)
            buf_add_str(error, aws_client_error(aws));
        return r;
    }
    const struct dynamodb_place place = place_of(aws, conf);
    dynamodb_shape_differences(&m.shape, &place, error);
    if (m.shape.key_fits)
        dynamodb_shape_billing(&m.shape, &place, wanted, error);
    if (error->len == 0)
        return RESULT_OK;
    buf_truncate(error, error->len - 1); /* the last line's end */
    return RESULT_INVALID;
}
