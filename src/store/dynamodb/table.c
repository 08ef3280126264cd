#include "store/dynamodb/dynamodb.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

/* The hash key, and the attribute of the time to live. */
#define TABLE_KEY "short_id"
#define TABLE_TTL "ttl"

/* Pause between two requests while the table is busy, in milliseconds. */
#define POLL_MS 250

/* Something that not every server knows. */
enum table_feature { FEATURE_UNKNOWN, FEATURE_DENIED, FEATURE_OFF, FEATURE_ON };

struct table_description {
    char status[48]; /* TableStatus; "" where it is not a word */
    char arn[1025];
    bool key_fits; /* TABLE_KEY, a string, and no sort key */
    bool provisioned;
    uint64_t read_units; /* per second, where provisioned */
    uint64_t write_units;
    bool replicated; /* to other regions */
    bool consistent; /* and those are strongly consistent */
    enum table_feature protection;
    enum table_feature backups;
    bool ttl_known;      /* the server has time to live */
    char ttl_status[24]; /* TimeToLiveStatus */
    bool ttl_fits;       /* it is, or was last, on TABLE_TTL */
};

/* ---- Requests and answers -------------------------------------------- */

/* A request with the table's name and members, a JSON object as text. */
static json_object *table_request(const struct conf *conf, const char *members)
{
    json_object *body = json_tokener_parse(members);
    json_add_text(body, "TableName", conf->table);
    return body;
}

/* Sends a request about the table, within STORE_TIMEOUT; body is released. On
 * failure store_error() has the reason. */
static enum result table_call(struct store *s, const char *action,
                              json_object *body, struct aws_answer *answer)
{
    const struct aws_request request = {
        .action = action,
        .body = body,
        .deadline =
            clock_monotonic_ms() + (int64_t)s->conf->store_timeout * 1000,
        /* Repeating any of these is at worst an error that does no harm. */
        .may_repeat = true};
    struct aws_client *aws = ((struct store_dynamodb *)s)->aws;
    enum result r = aws_client_call(aws, &request, answer);
    json_object_put(body);
    return r == RESULT_OK ? r : store_fail(s, r, "%s", aws_client_error(aws));
}

/* The text of a member, "" where object or member is missing. */
static const char *text_at(json_object *object, const char *name)
{
    const char *text =
        json_object_get_string(json_object_object_get(object, name));
    return text != NULL ? text : "";
}

/* The elements of an array, 0 where it is anything else. */
static size_t array_length(json_object *array)
{
    return json_object_is_type(array, json_type_array)
               ? json_object_array_length(array)
               : 0;
}

/* Copies a status, which is one word, for a line of text. */
static void copy_status(char *to, size_t size, const char *from)
{
    const bool word = from[strspn(from, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0';
    snprintf(to, size, "%s", word ? from : "");
}

static bool read_key_fits(json_object *table)
{
    json_object *keys = json_object_object_get(table, "KeySchema");
    json_object *types = json_object_object_get(table, "AttributeDefinitions");
    if (array_length(keys) != 1 ||
        strcmp(text_at(json_object_array_get_idx(keys, 0), "AttributeName"),
               TABLE_KEY) != 0)
        return false;
    for (size_t i = 0; i < array_length(types); i++) {
        json_object *type = json_object_array_get_idx(types, i);
        if (strcmp(text_at(type, "AttributeName"), TABLE_KEY) == 0)
            return strcmp(text_at(type, "AttributeType"), "S") == 0;
    }
    return false;
}

static void read_table(json_object *table, struct table_description *out)
{
    copy_status(out->status, sizeof(out->status),
                text_at(table, "TableStatus"));
    snprintf(out->arn, sizeof(out->arn), "%s", text_at(table, "TableArn"));
    out->key_fits = read_key_fits(table);
    json_object *units = json_object_object_get(table, "ProvisionedThroughput");
    out->read_units = json_object_get_uint64(
        json_object_object_get(units, "ReadCapacityUnits"));
    out->write_units = json_object_get_uint64(
        json_object_object_get(units, "WriteCapacityUnits"));
    /* A table that was never on-demand has no summary of its billing. A server
     * without billing may show neither that nor a capacity. */
    const char *mode = text_at(
        json_object_object_get(table, "BillingModeSummary"), "BillingMode");
    out->provisioned = mode[0] != '\0'
                           ? strcmp(mode, "PROVISIONED") == 0
                           : out->read_units > 0 || out->write_units > 0;
    out->replicated =
        array_length(json_object_object_get(table, "Replicas")) > 0;
    out->consistent =
        strcmp(text_at(table, "MultiRegionConsistency"), "STRONG") == 0;
    json_object *protection =
        json_object_object_get(table, "DeletionProtectionEnabled");
    if (json_object_is_type(protection, json_type_boolean))
        out->protection =
            json_object_get_boolean(protection) ? FEATURE_ON : FEATURE_OFF;
}

/* Whether links can be read and written. */
static bool table_is_usable(const struct table_description *t)
{
    return t->key_fits && (strcmp(t->status, "ACTIVE") == 0 ||
                           strcmp(t->status, "UPDATING") == 0);
}

static bool table_has_ttl(const struct table_description *t)
{
    return strcmp(t->ttl_status, "ENABLED") == 0 ||
           strcmp(t->ttl_status, "ENABLING") == 0;
}

/* DescribeTable, and for a usable table DescribeTimeToLive. RESULT_NOT_FOUND:
 * no such table. */
static enum result table_describe(struct store *s,
                                  struct table_description *out)
{
    struct aws_answer answer;
    *out = (struct table_description){.key_fits = false};
    enum result r =
        table_call(s, "DescribeTable", table_request(s->conf, "{}"), &answer);
    if (r != RESULT_OK)
        return r;
    read_table(json_object_object_get(answer.body, "Table"), out);
    aws_answer_free(&answer);
    if (!table_is_usable(out))
        return RESULT_OK;
    r = table_call(s, "DescribeTimeToLive", table_request(s->conf, "{}"),
                   &answer);
    /* Some servers do not have this action, or not for this table. */
    if (r == RESULT_INVALID ||
        strncmp(answer.type, "UnknownOperation", 16) == 0)
        return RESULT_OK;
    if (r != RESULT_OK)
        return r;
    json_object *ttl =
        json_object_object_get(answer.body, "TimeToLiveDescription");
    out->ttl_known = true;
    copy_status(out->ttl_status, sizeof(out->ttl_status),
                text_at(ttl, "TimeToLiveStatus"));
    out->ttl_fits = strcmp(text_at(ttl, "AttributeName"), TABLE_TTL) == 0;
    aws_answer_free(&answer);
    return RESULT_OK;
}

/* A table can be used without permission for DescribeContinuousBackups, so this
 * does not fail. */
static void describe_backups(struct store *s, struct table_description *out)
{
    struct aws_answer answer;
    enum result r = table_call(s, "DescribeContinuousBackups",
                               table_request(s->conf, "{}"), &answer);
    if (r == RESULT_DENIED)
        out->backups = FEATURE_DENIED;
    if (r != RESULT_OK)
        return;
    json_object *backups =
        json_object_object_get(answer.body, "ContinuousBackupsDescription");
    const char *status = text_at(
        json_object_object_get(backups, "PointInTimeRecoveryDescription"),
        "PointInTimeRecoveryStatus");
    if (strcmp(status, "ENABLED") == 0)
        out->backups = FEATURE_ON;
    else if (strcmp(status, "DISABLED") == 0)
        out->backups = FEATURE_OFF;
    aws_answer_free(&answer);
}

/* ---- Found and expected ---------------------------------------------- */

static void add_findings(const struct table_description *t,
                         const struct conf *conf, struct buf *out)
{
    /* A table that is being deleted does not show its key any more. */
    if (!t->key_fits && strcmp(t->status, "DELETING") != 0)
        buf_addf(out,
                 "table %s: its key is not only the string hash key " TABLE_KEY
                 ", and cannot be changed; set TABLE to another name and run "
                 "`curt table create`, or use deploy/aws/template.yaml\n",
                 conf->table);
    else if (!table_is_usable(t))
        buf_addf(out,
                 "table %s: its status is %s, expected ACTIVE; wait where the "
                 "status is CREATING or DELETING, otherwise see the table in "
                 "the AWS console\n",
                 conf->table, t->status[0] != '\0' ? t->status : "unknown");
    if (table_has_ttl(t) && !t->ttl_fits)
        buf_addf(out,
                 "table %s: time to live is on another attribute, expected "
                 "on " TABLE_TTL "; turn it off in the AWS console, then run "
                 "`curt table create`\n",
                 conf->table);
}

/* Compares the billing with the wanted one. */
static void add_billing_finding(const struct table_description *t,
                                const struct conf *conf,
                                const struct store_table *wanted,
                                struct buf *out)
{
    const bool provisioned = wanted->billing == STORE_BILLING_PROVISIONED;
    if (wanted->billing == STORE_BILLING_ANY ||
        (provisioned == t->provisioned &&
         (!provisioned || (t->read_units == wanted->read_units &&
                           t->write_units == wanted->write_units))))
        return;
    buf_addf(out, "table %s: its billing is ", conf->table);
    if (t->provisioned)
        buf_addf(out, "provisioned with %llu read and %llu write units",
                 (unsigned long long)t->read_units,
                 (unsigned long long)t->write_units);
    else
        buf_add_str(out, "on-demand");
    buf_add_str(out, ", not as requested; curt does not change the billing of "
                     "an existing table, change it in the AWS console\n");
}

static void add_ttl_note(const struct table_description *t,
                         const struct conf *conf, struct buf *out)
{
    if (table_has_ttl(t))
        return;
    buf_addf(out, "table %s: ", conf->table);
    if (t->ttl_known)
        buf_addf(out, "time to live on " TABLE_TTL " is %s, expected ENABLED",
                 t->ttl_status[0] != '\0' ? t->ttl_status : "unknown");
    else
        buf_add_str(out, "this server does not have time to live");
    buf_add_str(out, ", so expired links are not redirected, but never "
                     "removed");
    if (!t->ttl_known)
        buf_add_str(out, "; an older ScyllaDB has it with "
                         "--experimental-features=alternator-ttl\n");
    else if (t->replicated && t->consistent)
        buf_add_str(out, "; a global table with strong consistency cannot "
                         "have it\n");
    else
        buf_add_str(out, "; run `curt table create`\n");
}

static void add_notes(const struct table_description *t,
                      const struct conf *conf, const char *region,
                      struct buf *out)
{
    add_ttl_note(t, conf, out);
    if (t->protection == FEATURE_OFF)
        buf_addf(out,
                 "table %s: deletion protection is off; turn it on with `curt "
                 "table create --deletion-protection`\n",
                 conf->table);
    if (t->backups == FEATURE_OFF)
        buf_addf(out,
                 "table %s: point-in-time recovery is off, so links that are "
                 "deleted by mistake are lost; turn it on with `curt table "
                 "create --point-in-time-recovery`\n",
                 conf->table);
    else if (t->backups == FEATURE_DENIED)
        buf_addf(out,
                 "table %s: cannot read whether point-in-time recovery is on; "
                 "allow dynamodb:DescribeContinuousBackups, see deploy/aws\n",
                 conf->table);
    if (t->provisioned)
        buf_addf(out,
                 "table %s: its capacity is provisioned, %llu read and %llu "
                 "write units, and requests above that are throttled; use auto "
                 "scaling, or on-demand billing as in deploy/aws/template.yaml"
                 "\n",
                 conf->table, (unsigned long long)t->read_units,
                 (unsigned long long)t->write_units);
    /* Such replicas keep the last writer's item as a whole, with its hits and
     * node numbers, and evaluate a create's condition each on its own. */
    if (t->replicated && !t->consistent)
        buf_addf(out,
                 "table %s: it is a global table, and hits are lost where two "
                 "regions count the same link; let all hosts use one region "
                 "(AWS_REGION = %s)\n",
                 conf->table, region != NULL ? region : "REGION");
}

enum result dynamodb_table_check(struct store *s, struct buf *findings,
                                 struct buf *notes)
{
    struct table_description t;
    const size_t before = findings->len;
    enum result r = table_describe(s, &t);
    const char *region = aws_client_region(((struct store_dynamodb *)s)->aws);
    if (r == RESULT_NOT_FOUND)
        buf_addf(findings,
                 "table %s: not found in %s; create it with `curt table "
                 "create` or deploy/aws/template.yaml\n",
                 s->conf->table, region != NULL ? region : "this region");
    if (r != RESULT_OK)
        return r;
    add_findings(&t, s->conf, findings);
    if (notes != NULL && table_is_usable(&t)) {
        describe_backups(s, &t);
        add_notes(&t, s->conf, region, notes);
    }
    return findings->len == before ? RESULT_OK : RESULT_INVALID;
}

/* ---- Creating -------------------------------------------------------- */

struct creation {
    struct store *store;
    const struct store_table *wanted;
    struct table_description table;
    bool created; /* by this call: it did not exist before */
    int64_t end;  /* of all waiting, of clock_monotonic_ms() */
};

static void add_tags(json_object *body, const struct store_table *wanted)
{
    json_object *tags = json_object_new_array();
    for (size_t i = 0; i < wanted->tag_count; i++) {
        json_object *tag = json_object_new_object();
        json_add_text(tag, "Key", wanted->tags[i].key);
        json_add_text(tag, "Value", wanted->tags[i].value);
        json_object_array_add(tags, tag);
    }
    json_object_object_add(body, "Tags", tags);
}

static enum result send_create_table(struct creation *c)
{
    const struct store_table *wanted = c->wanted;
    struct aws_answer answer;
    json_object *body = table_request(
        c->store->conf,
        "{\"KeySchema\":[{\"AttributeName\":\"" TABLE_KEY
        "\",\"KeyType\":\"HASH\"}],"
        "\"AttributeDefinitions\":[{\"AttributeName\":\"" TABLE_KEY
        "\",\"AttributeType\":\"S\"}],"
        "\"BillingMode\":\"PAY_PER_REQUEST\"}");
    if (wanted->billing == STORE_BILLING_PROVISIONED) {
        json_object *units = json_object_new_object();
        json_object_object_add(units, "ReadCapacityUnits",
                               json_object_new_uint64(wanted->read_units));
        json_object_object_add(units, "WriteCapacityUnits",
                               json_object_new_uint64(wanted->write_units));
        json_object_object_add(body, "ProvisionedThroughput", units);
        json_add_text(body, "BillingMode", "PROVISIONED");
    }
    if (wanted->deletion_protection)
        json_object_object_add(body, "DeletionProtectionEnabled",
                               json_object_new_boolean(true));
    if (wanted->tag_count > 0)
        add_tags(body, wanted);
    enum result r = table_call(c->store, "CreateTable", body, &answer);
    aws_answer_free(&answer);
    c->created = r == RESULT_OK;
    return r == RESULT_CONFLICT ? RESULT_OK : r; /* it exists */
}

/* Waits until the table can be used, or has a status that does not pass. A new
 * one may not be visible at first. */
static enum result wait_for_table(struct creation *c)
{
    for (;;) {
        enum result r = table_describe(c->store, &c->table);
        const bool waiting =
            r == RESULT_NOT_FOUND ||
            (r == RESULT_OK && strcmp(c->table.status, "CREATING") == 0);
        if (!waiting || clock_monotonic_ms() > c->end)
            return r;
        clock_pause_ms(POLL_MS);
    }
}

/* Sends a change of the table, repeated while DynamoDB refuses it because of an
 * earlier change; body is released. */
static enum result change_table(struct creation *c, const char *action,
                                json_object *body)
{
    enum result r;
    for (;;) {
        struct aws_answer answer;
        r = table_call(c->store, action, json_object_get(body), &answer);
        aws_answer_free(&answer);
        if (r != RESULT_CONFLICT || clock_monotonic_ms() > c->end)
            break;
        clock_pause_ms(POLL_MS);
    }
    json_object_put(body);
    return r == RESULT_CONFLICT ? RESULT_UNAVAILABLE : r;
}

static enum result complete_ttl(struct creation *c)
{
    struct table_description now;
    if (!c->table.ttl_known || table_has_ttl(&c->table))
        return RESULT_OK;
    enum result r = change_table(
        c, "UpdateTimeToLive",
        table_request(c->store->conf,
                      "{\"TimeToLiveSpecification\":{\"Enabled\":true,"
                      "\"AttributeName\":\"" TABLE_TTL "\"}}"));
    /* Another process may have enabled it meanwhile, which is refused. */
    if (r != RESULT_INVALID || table_describe(c->store, &now) != RESULT_OK ||
        !table_has_ttl(&now))
        return r;
    c->table = now;
    return RESULT_OK;
}

static enum result complete_protection(struct creation *c)
{
    if (!c->wanted->deletion_protection || c->table.protection == FEATURE_ON)
        return RESULT_OK;
    enum result r = change_table(
        c, "UpdateTable",
        table_request(c->store->conf, "{\"DeletionProtectionEnabled\":true}"));
    if (r != RESULT_OK || c->table.protection != FEATURE_UNKNOWN)
        return r;
    /* A server that does not know it may ignore it without an error. */
    r = table_describe(c->store, &c->table);
    if (r != RESULT_OK || c->table.protection != FEATURE_UNKNOWN)
        return r;
    return store_fail(c->store, RESULT_INVALID,
                      "table %s: this server has no deletion protection",
                      c->store->conf->table);
}

/* Adds to a usable table what it lacks of the time to live and of wanted. */
static enum result complete_table(struct creation *c)
{
    enum result r = complete_ttl(c);
    if (r == RESULT_OK)
        r = complete_protection(c);
    if (r == RESULT_OK && c->wanted->point_in_time_recovery)
        r = change_table(
            c, "UpdateContinuousBackups",
            table_request(c->store->conf,
                          "{\"PointInTimeRecoverySpecification\":"
                          "{\"PointInTimeRecoveryEnabled\":true}}"));
    /* CreateTable has tagged a new table. */
    if (r == RESULT_OK && c->wanted->tag_count > 0 && !c->created) {
        json_object *body = json_object_new_object();
        json_add_text(body, "ResourceArn", c->table.arn);
        add_tags(body, c->wanted);
        r = change_table(c, "TagResource", body);
    }
    return r;
}

enum result dynamodb_table_create(struct store *s,
                                  const struct store_table *wanted)
{
    struct creation c = {.store = s,
                         .wanted = wanted,
                         .end = clock_monotonic_ms() +
                                (int64_t)DYNAMODB_TABLE_WAIT * 1000};
    enum result r = send_create_table(&c);
    if (r == RESULT_OK)
        r = wait_for_table(&c);
    /* Another program's table is not changed. */
    if (r == RESULT_OK && table_is_usable(&c.table))
        r = complete_table(&c);
    if (r != RESULT_OK)
        return r;
    buf_reset(&s->error); /* of calls whose failure does not matter */
    add_findings(&c.table, s->conf, &s->error);
    if (c.table.key_fits)
        add_billing_finding(&c.table, s->conf, wanted, &s->error);
    if (s->error.len == 0)
        return RESULT_OK;
    buf_truncate(&s->error, s->error.len - 1); /* the last line's end */
    return RESULT_INVALID;
}
