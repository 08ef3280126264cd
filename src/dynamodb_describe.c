#include "dynamodb_describe.h"

#include <json-c/json.h>
#include <string.h>

#include "clock.h"
#include "json.h"

/* ---- Requests -------------------------------------------------------- */

enum result dynamodb_call(struct aws_client *aws, const struct conf *conf,
                          const char *action, json_object *body,
                          struct aws_answer *answer)
{
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

json_object *dynamodb_request(const struct conf *conf)
{
    json_object *body = json_object_new_object();
    json_add_text(body, "TableName", conf->table);
    return body;
}

/* ---- Reading answers ------------------------------------------------- */

static const char *text_at(json_object *object, const char *name)
{
    const char *text = json_text_at(object, name);
    return text != NULL ? text : "";
}

/* The member called name if it is an array, else NULL. */
static json_object *array_at(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_array))
        return NULL;
    return value;
}

static json_object *object_at(json_object *object, const char *name)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    return value;
}

static uint64_t number_at(json_object *object, const char *name)
{
    json_object *value = object_at(object, name);
    return json_object_is_type(value, json_type_int)
               ? json_object_get_uint64(value)
               : 0;
}

/* Copies what can stand in a line and in a command: no blanks, no quotes. */
static void copy_word(char *to, size_t size, const char *from)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.:/-";
    size_t len = strspn(from, allowed);
    len = from[len] == '\0' && len < size ? len : 0;
    memcpy(to, from, len);
    to[len] = '\0';
}

/* Whether the table's key is the string short_id alone. */
static bool key_fits(json_object *table)
{
    json_object *keys = array_at(table, "KeySchema");
    if (keys == NULL || json_object_array_length(keys) != 1 ||
        strcmp(text_at(json_object_array_get_idx(keys, 0), "AttributeName"),
               DYNAMODB_KEY) != 0)
        return false;
    json_object *types = array_at(table, "AttributeDefinitions");
    size_t count = types != NULL ? json_object_array_length(types) : 0;
    for (size_t i = 0; i < count; i++) {
        json_object *type = json_object_array_get_idx(types, i);
        if (strcmp(text_at(type, "AttributeName"), DYNAMODB_KEY) == 0)
            return strcmp(text_at(type, "AttributeType"), "S") == 0;
    }
    return false;
}

/* A table that was never on-demand has no summary of its billing. A server
 * that bills nothing may show neither that nor any capacity. */
static void read_billing(json_object *table, struct dynamodb_shape *out)
{
    json_object *units = object_at(table, "ProvisionedThroughput");
    out->read_units = number_at(units, "ReadCapacityUnits");
    out->write_units = number_at(units, "WriteCapacityUnits");
    const char *mode =
        text_at(object_at(table, "BillingModeSummary"), "BillingMode");
    out->provisioned = mode[0] != '\0'
                           ? strcmp(mode, "PROVISIONED") == 0
                           : out->read_units > 0 || out->write_units > 0;
}

static void read_table(json_object *table, struct dynamodb_shape *out)
{
    copy_word(out->status, sizeof(out->status), text_at(table, "TableStatus"));
    copy_word(out->arn, sizeof(out->arn), text_at(table, "TableArn"));
    copy_word(out->kms_arn, sizeof(out->kms_arn),
              text_at(object_at(table, "SSEDescription"), "KMSMasterKeyArn"));
    copy_word(
        out->archive_arn, sizeof(out->archive_arn),
        text_at(object_at(table, "ArchivalSummary"), "ArchivalBackupArn"));
    out->key_fits = key_fits(table);
    read_billing(table, out);
    json_object *replicas = array_at(table, "Replicas");
    out->replicated =
        replicas != NULL && json_object_array_length(replicas) > 0;
    out->consistent =
        strcmp(text_at(table, "MultiRegionConsistency"), "STRONG") == 0;
    json_object *protection = object_at(table, "DeletionProtectionEnabled");
    if (json_object_is_type(protection, json_type_boolean))
        out->protection =
            json_object_get_boolean(protection) ? DYNAMODB_ON : DYNAMODB_OFF;
}

enum result dynamodb_describe_table(struct aws_client *aws,
                                    const struct conf *conf,
                                    struct dynamodb_shape *out)
{
    struct aws_answer answer;
    enum result r = dynamodb_call(aws, conf, "DescribeTable",
                                  dynamodb_request(conf), &answer);
    if (r != RESULT_OK)
        return r;
    *out = (struct dynamodb_shape){.key_fits = false};
    read_table(object_at(answer.body, "Table"), out);
    aws_answer_free(&answer);
    return RESULT_OK;
}

/* Whether the server has no such action, or none for this table. */
static bool is_unknown(enum result r, const struct aws_answer *answer)
{
    return r == RESULT_INVALID ||
           strncmp(answer->type, "UnknownOperation", 16) == 0;
}

enum result dynamodb_describe_ttl(struct aws_client *aws,
                                  const struct conf *conf,
                                  struct dynamodb_shape *out)
{
    struct aws_answer answer;
    enum result r = dynamodb_call(aws, conf, "DescribeTimeToLive",
                                  dynamodb_request(conf), &answer);
    out->ttl_known = r == RESULT_OK;
    if (r != RESULT_OK)
        return is_unknown(r, &answer) ? RESULT_OK : r;
    json_object *ttl = object_at(answer.body, "TimeToLiveDescription");
    copy_word(out->ttl_status, sizeof(out->ttl_status),
              text_at(ttl, "TimeToLiveStatus"));
    out->ttl_fits = strcmp(text_at(ttl, "AttributeName"), DYNAMODB_TTL) == 0;
    aws_answer_free(&answer);
    return RESULT_OK;
}

void dynamodb_describe_backups(struct aws_client *aws, const struct conf *conf,
                               struct dynamodb_shape *out)
{
    struct aws_answer answer;
    enum result r = dynamodb_call(aws, conf, "DescribeContinuousBackups",
                                  dynamodb_request(conf), &answer);
    if (r == RESULT_DENIED)
        out->backups = DYNAMODB_DENIED;
    if (r != RESULT_OK)
        return;
    const char *status = text_at(
        object_at(object_at(answer.body, "ContinuousBackupsDescription"),
                  "PointInTimeRecoveryDescription"),
        "PointInTimeRecoveryStatus");
    if (strcmp(status, "ENABLED") == 0)
        out->backups = DYNAMODB_ON;
    else if (strcmp(status, "DISABLED") == 0)
        out->backups = DYNAMODB_OFF;
    aws_answer_free(&answer);
}
