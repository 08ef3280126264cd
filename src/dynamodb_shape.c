#include "dynamodb_shape.h"

#include <string.h>

static bool is_text(const struct dynamodb_shape *shape, const char *status)
{
    return strcmp(shape->status, status) == 0;
}

bool dynamodb_shape_is_usable(const struct dynamodb_shape *shape)
{
    return is_text(shape, "ACTIVE") || is_text(shape, "UPDATING");
}

bool dynamodb_shape_has_ttl(const struct dynamodb_shape *shape)
{
    return strcmp(shape->ttl_status, "ENABLED") == 0 ||
           strcmp(shape->ttl_status, "ENABLING") == 0;
}

/* ---- Commands -------------------------------------------------------- */

/* Appends the options with which each aws command finds the place. */
static void add_where(struct buf *out, const struct dynamodb_place *place)
{
    if (place->region != NULL)
        buf_addf(out, " --region %s", place->region);
    /* Of several, that are all one cluster, the first. */
    if (place->endpoint != NULL)
        buf_addf(out, " --endpoint-url %.*s",
                 (int)strcspn(place->endpoint, ", "), place->endpoint);
}

/* Appends a command on the table; options: what else it takes, "" or with a
 * space in front. */
static void add_command(struct buf *out, const struct dynamodb_place *place,
                        const char *command, const char *options)
{
    buf_addf(out, "`aws dynamodb %s --table-name %s", command, place->table);
    add_where(out, place);
    buf_addf(out, "%s`", options);
}

static void shape_begin(struct buf *out, const struct dynamodb_place *place)
{
    buf_addf(out, "table %s: ", place->table);
}

/* ---- Differences ----------------------------------------------------- */

/* DynamoDB cannot read its own table: the key in KMS is disabled, deleted or
 * not granted any more. */
static void add_inaccessible(const struct dynamodb_shape *shape,
                             const struct dynamodb_place *place,
                             struct buf *out)
{
    buf_add_str(out, "DynamoDB cannot use the KMS key that encrypts it, and "
                     "puts the table away after 7 days; ");
    if (shape->kms_arn[0] == '\0') {
        buf_add_str(out, "find it with ");
        add_command(out, place, "describe-table",
                    " --query Table.SSEDescription");
        buf_add_str(out, ", then enable it, or restore its key policy\n");
        return;
    }
    buf_addf(out, "enable it with `aws kms enable-key --key-id %s",
             shape->kms_arn);
    if (place->region != NULL)
        buf_addf(out, " --region %s", place->region);
    buf_add_str(out, "`, or restore its key policy\n");
}

static void add_archived(const struct dynamodb_shape *shape,
                         const struct dynamodb_place *place, struct buf *out)
{
    buf_add_str(out, "DynamoDB has put it away into a backup, because it could "
                     "not use its KMS key for 7 days; restore it, once the key "
                     "works and ");
    add_command(out, place, "delete-table", "");
    buf_addf(out,
             " has made its name free, with `aws dynamodb "
             "restore-table-from-backup --target-table-name %s --backup-arn %s",
             place->table,
             shape->archive_arn[0] != '\0' ? shape->archive_arn : "ARN");
    add_where(out, place);
    buf_add_str(out, "`\n");
}

static void add_status(const struct dynamodb_shape *shape,
                       const struct dynamodb_place *place, struct buf *out)
{
    shape_begin(out, place);
    if (is_text(shape, "INACCESSIBLE_ENCRYPTION_CREDENTIALS")) {
        add_inaccessible(shape, place, out);
    } else if (is_text(shape, "ARCHIVING") || is_text(shape, "ARCHIVED")) {
        add_archived(shape, place, out);
    } else if (is_text(shape, "DELETING")) {
        buf_add_str(out, "it is being removed with all links; wait with ");
        add_command(out, place, "wait table-not-exists", "");
        buf_add_str(out, ", then make it with `curt table create`\n");
    } else if (is_text(shape, "REPLICATION_NOT_AUTHORIZED")) {
        buf_add_str(out, "its replica in another account is not authorized any "
                         "more; see why with ");
        add_command(out, place, "describe-table", " --query Table.Replicas");
        buf_add_char(out, '\n');
    } else {
        buf_addf(out, "it is %s and not ACTIVE; wait with ",
                 shape->status[0] != '\0' ? shape->status
                                          : "in no known state");
        add_command(out, place, "wait table-exists", "");
        buf_add_char(out, '\n');
    }
}

void dynamodb_shape_differences(const struct dynamodb_shape *shape,
                                const struct dynamodb_place *place,
                                struct buf *out)
{
    /* A table that is being removed does not show its key any more. */
    if (!shape->key_fits && !is_text(shape, "DELETING")) {
        shape_begin(out, place);
        buf_add_str(out, "its key is not the string " DYNAMODB_KEY
                         " alone, which cannot be changed; let TABLE name "
                         "another one, or remove this one and all it holds "
                         "with ");
        add_command(out, place, "delete-table", "");
        buf_add_str(out, " and make it with `curt table create`\n");
    }
    if (!dynamodb_shape_is_usable(shape))
        add_status(shape, place, out);
    if (dynamodb_shape_has_ttl(shape) && !shape->ttl_fits) {
        shape_begin(out, place);
        buf_add_str(out, "the time to live is on another attribute "
                         "than " DYNAMODB_TTL "; turn it off with ");
        add_command(out, place, "update-time-to-live",
                    " --time-to-live-specification "
                    "Enabled=false,AttributeName=OTHER");
        buf_add_str(out, " and then run `curt table create`\n");
    }
}

void dynamodb_shape_missing(const struct dynamodb_place *place, struct buf *out)
{
    shape_begin(out, place);
    buf_addf(out, "there is none in %s; make it with `curt table create`\n",
             place->region != NULL ? place->region : "this region");
}

/* ---- Billing --------------------------------------------------------- */

void dynamodb_shape_billing(const struct dynamodb_shape *shape,
                            const struct dynamodb_place *place,
                            const struct store_table *wanted, struct buf *out)
{
    struct buf options;
    buf_init(&options, 256);
    if (wanted->billing == STORE_BILLING_ON_DEMAND && shape->provisioned)
        buf_add_str(&options, " --billing-mode PAY_PER_REQUEST");
    if (wanted->billing == STORE_BILLING_PROVISIONED &&
        (!shape->provisioned || shape->read_units != wanted->read_units ||
         shape->write_units != wanted->write_units))
        buf_addf(&options,
                 " --billing-mode PROVISIONED --provisioned-throughput "
                 "ReadCapacityUnits=%llu,WriteCapacityUnits=%llu",
                 (unsigned long long)wanted->read_units,
                 (unsigned long long)wanted->write_units);
    if (options.len > 0) {
        shape_begin(out, place);
        if (shape->provisioned)
            buf_addf(out,
                     "its capacity is provisioned, %llu read and %llu write "
                     "units, and is left so",
                     (unsigned long long)shape->read_units,
                     (unsigned long long)shape->write_units);
        else
            buf_add_str(out, "it is billed on demand, and is left so");
        buf_add_str(out, "; change what it costs with ");
        add_command(out, place, "update-table", options.data);
        buf_add_char(out, '\n');
    }
    buf_free(&options);
}

/* ---- Notes ----------------------------------------------------------- */

static void note_ttl(const struct dynamodb_shape *shape,
                     const struct dynamodb_place *place, struct buf *out)
{
    if (dynamodb_shape_has_ttl(shape))
        return;
    shape_begin(out, place);
    if (!shape->ttl_known) {
        buf_add_str(out, "this server has no time to live, so expired links "
                         "are not redirected, but never removed (an older "
                         "ScyllaDB has it with "
                         "--experimental-features=alternator-ttl)\n");
        return;
    }
    buf_addf(out,
             "the time to live on " DYNAMODB_TTL
             " is %s, so expired links are not redirected, but never removed; ",
             shape->ttl_status[0] != '\0' ? shape->ttl_status : "off");
    if (shape->replicated && shape->consistent) {
        buf_add_str(out, "a global table with strong consistency cannot have "
                         "one\n");
        return;
    }
    buf_add_str(out, "turn it on with `curt table create`, or with ");
    add_command(out, place, "update-time-to-live",
                " --time-to-live-specification "
                "Enabled=true,AttributeName=" DYNAMODB_TTL);
    buf_add_char(out, '\n');
}

static void note_safety(const struct dynamodb_shape *shape,
                        const struct dynamodb_place *place, struct buf *out)
{
    if (shape->protection == DYNAMODB_OFF) {
        shape_begin(out, place);
        buf_add_str(out, "it has no deletion protection; turn it on with `curt "
                         "table create --deletion-protection`, or with ");
        add_command(out, place, "update-table",
                    " --deletion-protection-enabled");
        buf_add_char(out, '\n');
    }
    if (shape->backups == DYNAMODB_OFF) {
        shape_begin(out, place);
        buf_add_str(out, "it has no point-in-time recovery, so what is deleted "
                         "by mistake is gone; turn it on with `curt table "
                         "create --point-in-time-recovery`, or with ");
        add_command(out, place, "update-continuous-backups",
                    " --point-in-time-recovery-specification "
                    "PointInTimeRecoveryEnabled=true");
        buf_add_char(out, '\n');
    } else if (shape->backups == DYNAMODB_DENIED) {
        shape_begin(out, place);
        buf_add_str(out, "whether it has point-in-time recovery is not known: "
                         "this access key may not call "
                         "dynamodb:DescribeContinuousBackups\n");
    }
}

static void note_capacity(const struct dynamodb_shape *shape,
                          const struct dynamodb_place *place, struct buf *out)
{
    if (!shape->provisioned)
        return;
    shape_begin(out, place);
    buf_addf(out,
             "its capacity is provisioned, %llu read and %llu write units, and "
             "requests past that are refused; see whether auto scaling raises "
             "it with `aws application-autoscaling describe-scalable-targets "
             "--service-namespace dynamodb --resource-ids table/%s",
             (unsigned long long)shape->read_units,
             (unsigned long long)shape->write_units, place->table);
    if (place->region != NULL)
        buf_addf(out, " --region %s", place->region);
    buf_add_str(out, "`, or pay per request with ");
    add_command(out, place, "update-table", " --billing-mode PAY_PER_REQUEST");
    buf_add_char(out, '\n');
}

/* Replicas that agree only later keep the last writer's item as a whole, with
 * its hits and its node numbers; and each evaluates a create's condition on
 * what it knows itself. */
static void note_replicas(const struct dynamodb_shape *shape,
                          const struct dynamodb_place *place, struct buf *out)
{
    if (!shape->replicated || shape->consistent)
        return;
    shape_begin(out, place);
    buf_addf(out,
             "it is a global table, whose replicas keep the last write of an "
             "item alone: let every host that runs curt use one and the same "
             "region (AWS_REGION = %s), or hits are lost where two regions "
             "count the same link\n",
             place->region != NULL ? place->region : "REGION");
}

void dynamodb_shape_notes(const struct dynamodb_shape *shape,
                          const struct dynamodb_place *place, struct buf *out)
{
    note_ttl(shape, place, out);
    note_safety(shape, place, out);
    note_capacity(shape, place, out);
    note_replicas(shape, place, out);
}
