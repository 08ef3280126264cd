#include "dynamodb_table.h"

#include <json.h>
#include <string.h>
#include <time.h>

#include "aws_config.h"
#include "clock.h"

#define KEY_NAME "short_id"
#define TTL_NAME "ttl"

/* Between two looks at a table that is being made. */
#define POLL_MS 250

/* The table as two Describe calls show it. */
struct shape {
    char status[24];     /* TableStatus */
    bool key_fits;       /* short_id, a string, and no sort key */
    char ttl_status[24]; /* TimeToLiveStatus */
    bool ttl_fits;       /* it is, or was last, on the attribute ttl */
};

/* ---- Requests -------------------------------------------------------- */

static enum result call(struct aws_client *aws, const struct conf *conf,
                        const char *action, json_object *body,
                        struct aws_answer *answer)
{
    json_object_object_add(body, "TableName",
                           json_object_new_string(conf->table));
    const struct aws_request request = {
        .action = action,
        .body = body,
        .deadline = clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000,
        /* Repeating any of these is an error that is no harm. */
        .may_repeat = true};
    enum result r = aws_client_call(aws, &request, answer);
    json_object_put(body);
    return r;
}

/* Adds {name: value} pairs of strings as one object to list. */
static void add_pair(json_object *list, const char *name_1, const char *value_1,
                     const char *name_2, const char *value_2)
{
    json_object *pair = json_object_new_object();
    json_object_object_add(pair, name_1, json_object_new_string(value_1));
    json_object_object_add(pair, name_2, json_object_new_string(value_2));
    json_object_array_add(list, pair);
}

static enum result send_create(struct aws_client *aws, const struct conf *conf)
{
    json_object *keys = json_object_new_array();
    add_pair(keys, "AttributeName", KEY_NAME, "KeyType", "HASH");
    json_object *types = json_object_new_array();
    add_pair(types, "AttributeName", KEY_NAME, "AttributeType", "S");
    json_object *body = json_object_new_object();
    json_object_object_add(body, "KeySchema", keys);
    json_object_object_add(body, "AttributeDefinitions", types);
    json_object_object_add(body, "BillingMode",
                           json_object_new_string("PAY_PER_REQUEST"));
    struct aws_answer answer;
    enum result r = call(aws, conf, "CreateTable", body, &answer);
    aws_answer_free(&answer);
    /* There already. */
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}

static enum result send_ttl(struct aws_client *aws, const struct conf *conf)
{
    json_object *ttl = json_object_new_object();
    json_object_object_add(ttl, "AttributeName",
                           json_object_new_string(TTL_NAME));
    json_object_object_add(ttl, "Enabled", json_object_new_boolean(true));
    json_object *body = json_object_new_object();
    json_object_object_add(body, "TimeToLiveSpecification", ttl);
    struct aws_answer answer;
    enum result r = call(aws, conf, "UpdateTimeToLive", body, &answer);
    aws_answer_free(&answer);
    return r;
}

/* ---- Reading answers ------------------------------------------------- */

static const char *text_at(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return "";
    return json_object_get_string(value);
}

/* The array called name, if it is one and has length elements. */
static json_object *array_at(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_array))
        return NULL;
    return value;
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t len = strnlen(from, size - 1);
    memcpy(to, from, len);
    to[len] = '\0';
}

/* Whether the table's key is the string short_id alone. */
static bool key_fits(json_object *table)
{
    json_object *keys = array_at(table, "KeySchema");
    if (keys == NULL || json_object_array_length(keys) != 1 ||
        strcmp(text_at(json_object_array_get_idx(keys, 0), "AttributeName"),
               KEY_NAME) != 0)
        return false;
    json_object *types = array_at(table, "AttributeDefinitions");
    size_t count = types != NULL ? json_object_array_length(types) : 0;
    for (size_t i = 0; i < count; i++) {
        json_object *type = json_object_array_get_idx(types, i);
        if (strcmp(text_at(type, "AttributeName"), KEY_NAME) == 0)
            return strcmp(text_at(type, "AttributeType"), "S") == 0;
    }
    return false;
}

static enum result describe_table(struct aws_client *aws,
                                  const struct conf *conf, struct shape *out)
{
    struct aws_answer answer;
    enum result r =
        call(aws, conf, "DescribeTable", json_object_new_object(), &answer);
    if (r != RESULT_OK)
        return r;
    json_object *table = NULL;
    json_object_object_get_ex(answer.body, "Table", &table);
    copy_text(out->status, sizeof(out->status), text_at(table, "TableStatus"));
    out->key_fits = key_fits(table);
    aws_answer_free(&answer);
    return RESULT_OK;
}

static enum result describe_ttl(struct aws_client *aws, const struct conf *conf,
                                struct shape *out)
{
    struct aws_answer answer;
    enum result r = call(aws, conf, "DescribeTimeToLive",
                         json_object_new_object(), &answer);
    if (r != RESULT_OK)
        return r;
    json_object *ttl = NULL;
    json_object_object_get_ex(answer.body, "TimeToLiveDescription", &ttl);
    copy_text(out->ttl_status, sizeof(out->ttl_status),
              text_at(ttl, "TimeToLiveStatus"));
    out->ttl_fits = strcmp(text_at(ttl, "AttributeName"), TTL_NAME) == 0;
    aws_answer_free(&answer);
    return RESULT_OK;
}

static bool is_usable(const struct shape *shape)
{
    return strcmp(shape->status, "ACTIVE") == 0 ||
           strcmp(shape->status, "UPDATING") == 0;
}

static bool ttl_is_on(const struct shape *shape)
{
    return strcmp(shape->ttl_status, "ENABLED") == 0 ||
           strcmp(shape->ttl_status, "ENABLING") == 0;
}

/* ---- Differences ----------------------------------------------------- */

/* Appends an aws command's beginning, with the options that find the table. */
static void add_command(struct buf *out, const struct conf *conf,
                        const char *command)
{
    const char *endpoint = aws_config_endpoint(conf);
    buf_addf(out, "`aws dynamodb %s --table-name %s --region %s", command,
             conf->table, aws_config_region(conf));
    if (endpoint != NULL)
        buf_addf(out, " --endpoint-url %s", endpoint);
}

static void add_differences(const struct shape *shape, const struct conf *conf,
                            struct buf *out)
{
    const char *table = conf->table;
    if (!shape->key_fits) {
        buf_addf(out,
                 "table %s: its key is not the string " KEY_NAME
                 " alone, which cannot be changed; let TABLE name another "
                 "one, or remove this one and all it holds with ",
                 table);
        add_command(out, conf, "delete-table");
        buf_add_str(out, "` and make it with `curt table create`\n");
    }
    if (!is_usable(shape)) {
        buf_addf(out, "table %s: it is %s and not ACTIVE; wait with ", table,
                 shape->status);
        add_command(out, conf, "wait table-exists");
        buf_add_str(out, "`\n");
    }
    if (ttl_is_on(shape) && !shape->ttl_fits) {
        buf_addf(
            out,
            "table %s: the time to live is on another attribute than " TTL_NAME
            "; turn it off with ",
            table);
        add_command(out, conf, "update-time-to-live");
        buf_add_str(out, " --time-to-live-specification "
                         "Enabled=false,AttributeName=OTHER` and then run "
                         "`curt table create`\n");
    } else if (!ttl_is_on(shape)) {
        buf_addf(out,
                 "table %s: the time to live on " TTL_NAME
                 " is %s, so expired links are never removed; turn it on with "
                 "`curt table create`, or with ",
                 table,
                 shape->ttl_status[0] != '\0' ? shape->ttl_status : "off");
        add_command(out, conf, "update-time-to-live");
        buf_add_str(out, " --time-to-live-specification "
                         "Enabled=true,AttributeName=" TTL_NAME "`\n");
    }
}

enum result dynamodb_table_check(struct aws_client *aws,
                                 const struct conf *conf, struct buf *findings)
{
    struct shape shape = {.key_fits = false};
    enum result r = describe_table(aws, conf, &shape);
    if (r == RESULT_NOT_FOUND)
        buf_addf(findings,
                 "table %s: there is none in %s; make it with `curt table "
                 "create`\n",
                 conf->table, aws_config_region(conf));
    if (r == RESULT_OK)
        r = describe_ttl(aws, conf, &shape);
    if (r != RESULT_OK)
        return r;
    size_t before = findings->len;
    add_differences(&shape, conf, findings);
    return findings->len == before ? RESULT_OK : RESULT_INVALID;
}

/* ---- Making ---------------------------------------------------------- */

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000,
                               .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Waits until the table can be used, as long as DYNAMODB_TABLE_WAIT. A table
 * that was just asked for may not be visible yet. */
static enum result wait_active(struct aws_client *aws, const struct conf *conf,
                               struct shape *shape)
{
    int64_t end = clock_monotonic_ms() + DYNAMODB_TABLE_WAIT * 1000;
    for (;;) {
        enum result r = describe_table(aws, conf, shape);
        if (r == RESULT_OK && is_usable(shape))
            return r;
        bool waiting = r == RESULT_OK || r == RESULT_NOT_FOUND;
        if (!waiting || clock_monotonic_ms() > end)
            return r;
        pause_ms(POLL_MS);
    }
}

enum result dynamodb_table_create(struct aws_client *aws,
                                  const struct conf *conf, struct buf *error)
{
    struct shape shape = {.key_fits = false};
    enum result r = send_create(aws, conf);
    if (r == RESULT_OK)
        r = wait_active(aws, conf, &shape);
    if (r == RESULT_OK)
        r = describe_ttl(aws, conf, &shape);
    if (r == RESULT_OK && shape.key_fits && !ttl_is_on(&shape)) {
        r = send_ttl(aws, conf);
        /* Another one may have turned it on meanwhile, which is refused. */
        if (r == RESULT_OK || r == RESULT_INVALID)
            r = describe_ttl(aws, conf, &shape);
    }
    if (r != RESULT_OK) {
        buf_add_str(error, aws_client_error(aws));
        return r;
    }
    add_differences(&shape, conf, error);
    if (error->len == 0)
        return RESULT_OK;
    buf_truncate(error, error->len - 1); /* the last line's end */
    return RESULT_INVALID;
}
