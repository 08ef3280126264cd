/* curt table: creates the table and checks it. See curt(1). */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "base/text.h"
#include "base/utf8.h"
#include "config/dirs.h"
#include "tool/main.h"

/* Far above what AWS allows; AWS reports its own limit. */
#define UNITS_MAX 1000000000

/* ---- Options --------------------------------------------------------- */

static bool take_billing(struct store_table *wanted, const char *text)
{
    if (strcmp(text, "on-demand") == 0)
        wanted->billing = STORE_BILLING_ON_DEMAND;
    else if (strcmp(text, "provisioned") == 0)
        wanted->billing = STORE_BILLING_PROVISIONED;
    else {
        ctl_say(stderr, "curt: --billing %s: expected on-demand or provisioned",
                text);
        return false;
    }
    return true;
}

static bool take_units(const char *option, const char *text, uint64_t *units)
{
    const bool valid = text_number(text, UNITS_MAX, units) && *units > 0;
    if (!valid)
        ctl_say(stderr, "curt: %s %s: expected an integer from 1 to %d", option,
                text, UNITS_MAX);
    return valid;
}

/* The length of a text in characters; false if it is not UTF-8. */
static bool count_characters(const char *text, size_t *count)
{
    *count = 0;
    for (size_t len = strlen(text), pos = 0; pos < len; (*count)++)
        if (utf8_next(text, len, &pos) == UTF8_BAD)
            return false;
    return true;
}

static const char *tag_fault(const struct store_table *wanted,
                             const struct store_tag *tag)
{
    size_t key_len, value_len;
    if (!count_characters(tag->key, &key_len) ||
        !count_characters(tag->value, &value_len))
        return "expected UTF-8";
    if (key_len < 1 || key_len > STORE_TAG_KEY_MAX)
        return "expected a key of 1 to 128 characters";
    if (value_len > STORE_TAG_VALUE_MAX)
        return "expected a value of at most 256 characters";
    if (strncasecmp(tag->key, "aws:", 4) == 0)
        return "keys that begin with aws: are reserved for AWS";
    for (size_t i = 0; i < wanted->tag_count; i++)
        if (strcmp(wanted->tags[i].key, tag->key) == 0)
            return "duplicate key";
    if (wanted->tag_count == STORE_TAGS_MAX)
        return "a table can have at most 50 tags";
    return NULL;
}

static bool take_tag(struct store_table *wanted, char *text)
{
    char *value = strchr(text, '=');
    if (value == NULL) {
        ctl_say(stderr, "curt: --tag %s: expected KEY=VALUE", text);
        return false;
    }
    *value++ = '\0';
    const struct store_tag tag = {.key = text, .value = value};
    const char *fault = tag_fault(wanted, &tag);
    if (fault != NULL) {
        /* The value is not printed: it may not be text. */
        fprintf(stderr, "curt: --tag, number %zu: %s\n", wanted->tag_count + 1,
                fault);
        return false;
    }
    wanted->tags[wanted->tag_count++] = tag;
    return true;
}

bool ctl_table_option(struct ctl_table_options *t, int code, char *argument)
{
    struct store_table *wanted = &t->wanted;
    t->given = true;
    switch ((enum ctl_table_code)code) {
    case CTL_BILLING:
        return take_billing(wanted, argument);
    case CTL_READ_UNITS:
        return take_units("--read-units", argument, &wanted->read_units);
    case CTL_WRITE_UNITS:
        return take_units("--write-units", argument, &wanted->write_units);
    case CTL_PROTECTION:
        wanted->deletion_protection = true;
        return true;
    case CTL_BACKUPS:
        wanted->point_in_time_recovery = true;
        return true;
    case CTL_TAG:
        return take_tag(wanted, argument);
    }
    return false;
}

int ctl_table_misplaced(void)
{
    fputs("curt: --billing, --read-units, --write-units, "
          "--deletion-protection, --point-in-time-recovery and --tag are only "
          "for table create\n",
          stderr);
    return EX_USAGE;
}

/* What is wrong with the options together; NULL: nothing. */
static const char *options_fault(const struct ctl *ctl)
{
    const struct ctl_table_options *t = &ctl->table;
    const bool provisioned = t->wanted.billing == STORE_BILLING_PROVISIONED;
    const bool reads = t->wanted.read_units > 0,
               writes = t->wanted.write_units > 0;
    if (t->given && ctl->conf.store != CONF_STORE_DYNAMODB)
        return "STORE is sqlite, and these options are only for DynamoDB";
    if ((reads || writes) && !provisioned)
        return "--read-units and --write-units are only for --billing "
               "provisioned";
    if (provisioned && (!reads || !writes))
        return "--billing provisioned needs --read-units and --write-units";
    return NULL;
}

/* ---- Checking -------------------------------------------------------- */

/* Adds the lines of text, which is cut up, as an array of strings. */
static void add_lines(json_object *answer, const char *name, char *text)
{
    json_object *list = json_object_new_array();
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        json_object_array_add(list, json_object_new_string(line));
    json_object_object_add(answer, name, list);
}

static int check_table(struct ctl *ctl)
{
    struct buf findings, notes;
    buf_init(&findings, CTL_OUTPUT_MAX);
    buf_init(&notes, CTL_OUTPUT_MAX);
    enum result r = store_table_check(ctl->store, &findings, &notes);
    const bool ok = r == RESULT_OK, known = ok || findings.len > 0;
    if (known && ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, "ok", json_object_new_boolean(ok));
        add_lines(answer, "findings", findings.data);
        add_lines(answer, "notes", notes.data);
        ctl_print_json(answer);
    } else if (known) {
        if (ok)
            puts("table OK");
        else
            ctl_print_lines(stdout, "", findings.data);
        ctl_print_lines(stdout, "note: ", notes.data);
    }
    buf_free(&findings);
    buf_free(&notes);
    if (!known)
        return ctl_store_failed(ctl, r);
    return ok ? 0 : CTL_NO;
}

int ctl_table(struct ctl *ctl, const char *action)
{
    if (strcmp(action, "check") == 0)
        return ctl->table.given ? ctl_table_misplaced() : check_table(ctl);
    if (strcmp(action, "create") != 0) {
        ctl_say(stderr, "curt: table %s: expected create or check", action);
        return EX_USAGE;
    }
    const char *fault = options_fault(ctl);
    if (fault != NULL) {
        fprintf(stderr, "curt: table create: %s\n", fault);
        return EX_USAGE;
    }
    dirs_make(&ctl->conf);
    enum result r = store_table_create(ctl->store, &ctl->table.wanted);
    return r == RESULT_OK ? check_table(ctl) : ctl_store_failed(ctl, r);
}
