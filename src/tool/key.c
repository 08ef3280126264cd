/* curt key ...: API keys, and the records of keys and plans. See curt(1),
 * service/access.h and store.h. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "service/access.h"
#include "service/plans.h"
#include "tool/main.h"

/* How long old keys are valid after `rotate`, and at most, in seconds. */
#define KEY_GRACE     86400
#define KEY_GRACE_MAX 31536000

#define KEY_DAYS_MAX 36500

/* How often a record is read and written again that another process changes at
 * the same time. */
#define RECORD_TRIES 20

/* ---- The records -------------------------------------------------------- */

enum result ctl_change_record(struct ctl *ctl, const char *key,
                              ctl_change *change, void *arg)
{
    enum result r = RESULT_CONFLICT;
    for (int i = 0; i < RECORD_TRIES && r == RESULT_CONFLICT; i++) {
        struct store_record record;
        r = store_record_get(ctl->store, key, true, 0, &record);
        if (r == RESULT_NOT_FOUND) {
            record = (struct store_record){.value = json_object_new_object(),
                                           .ttl = LINK_NEVER};
            r = RESULT_OK;
        } else if (r != RESULT_OK) {
            return r;
        }
        r = change(ctl, record.value, arg);
        if (r == RESULT_OK)
            r = store_record_put(ctl->store, key, &record, 0);
        json_object_put(record.value);
    }
    cache_forget(ctl->cache, key); /* also where the outcome is unknown */
    return r;
}

enum result ctl_names(struct ctl *ctl, const char *key, json_object *index,
                      json_object **names)
{
    if (json_object_object_length(index) == 0)
        json_object_object_add(index, "names", json_object_new_object());
    *names = json_object_object_get(index, "names");
    if (json_object_is_type(*names, json_type_object))
        return RESULT_OK;
    return store_fail(ctl->store, RESULT_CORRUPT,
                      "the record %s is not a list of names", key);
}

enum result ctl_read_names(struct ctl *ctl, const char *key,
                           struct store_record *index, json_object **names)
{
    enum result r = store_record_get(ctl->store, key, true, 0, index);
    if (r == RESULT_NOT_FOUND)
        index->value = json_object_new_object();
    if (r == RESULT_OK || r == RESULT_NOT_FOUND)
        r = ctl_names(ctl, key, index->value, names);
    else
        index->value = NULL;
    return r;
}

/* The digests of a key, the newest last, which belong to index. NULL: there is
 * no such key, or the store failed; reported, and *status is set. */
static json_object *key_digests(struct ctl *ctl, const char *name,
                                struct store_record *index, int *status)
{
    json_object *names, *digests = NULL;
    const enum result r = ctl_read_names(ctl, ACCESS_INDEX, index, &names);
    *status = 0;
    if (r != RESULT_OK) {
        *status = ctl_store_failed(ctl, r);
    } else if (!json_object_object_get_ex(names, name, &digests)) {
        ctl_say(stderr, "curt: no API key is named \"%s\"; see: curt key list",
                name);
        *status = CTL_NO;
    }
    return digests;
}

static void key_record(json_object *digests, size_t i,
                       char record[ACCESS_RECORD_SIZE])
{
    snprintf(record, ACCESS_RECORD_SIZE, ACCESS_RECORD "%s",
             json_object_get_string(json_object_array_get_idx(digests, i)));
}

/* Reads the newest key of a name; returns the exit status. */
static int key_read_newest(struct ctl *ctl, json_object *digests,
                           struct store_record *record)
{
    char key[ACCESS_RECORD_SIZE];
    key_record(digests, json_object_array_length(digests) - 1, key);
    const enum result r = store_record_get(ctl->store, key, true, 0, record);
    return r == RESULT_OK ? 0 : ctl_store_failed(ctl, r);
}

/* A member of a key that is set, or removed where value is NULL. */
struct key_member {
    const char *name;
    json_object *value;
};

/* Of two times in "expires" the earlier one stays. */
static enum result key_set_member(struct ctl *ctl, json_object *record,
                                  void *arg)
{
    const struct key_member *member = arg;
    json_object *old = json_object_object_get(record, member->name);
    if (json_object_object_length(record) == 0)
        return store_fail(ctl->store, RESULT_NOT_FOUND,
                          "a record of this API key is missing in the store");
    if (member->value == NULL && json_text_at(record, "revoked") != NULL)
        return store_fail(ctl->store, RESULT_INVALID,
                          "the API key is revoked, and that is final");
    if (member->value == NULL)
        json_object_object_del(record, member->name);
    else if (strcmp(member->name, "expires") != 0 || old == NULL ||
             json_object_get_int64(old) > json_object_get_int64(member->value))
        json_object_object_add(record, member->name,
                               json_object_get(member->value));
    return RESULT_OK;
}

/* Changes a member of the keys of a name: the old ones, which are valid for a
 * while after `rotate`, and with newest the newest. value is released. done:
 * what is printed, or NULL. Returns the exit status. */
static int key_set_all(struct ctl *ctl, const char *name, const char *member,
                       json_object *value, bool newest, const char *done)
{
    char key[ACCESS_RECORD_SIZE];
    struct store_record index;
    struct key_member set = {member, value};
    int status;
    json_object *digests = key_digests(ctl, name, &index, &status);
    const size_t count =
        digests != NULL ? json_object_array_length(digests) - !newest : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        key_record(digests, i, key);
        const enum result r = ctl_change_record(ctl, key, key_set_member, &set);
        if (r != RESULT_OK)
            status = ctl_store_failed(ctl, r);
    }
    if (status == 0 && done != NULL && ctl->json) {
        json_object *answer = json_object_new_object();
        json_add_text(answer, done, name);
        ctl_print_json(answer);
    } else if (status == 0 && done != NULL) {
        ctl_say(stdout, "%s is %s", name, done);
    }
    json_object_put(value);
    json_object_put(index.value);
    return status;
}

/* A key that is added to the index. */
struct key_entry {
    const char *name, *digest;
    bool rotate; /* the name has keys already */
};

static enum result key_add_entry(struct ctl *ctl, json_object *index, void *arg)
{
    const struct key_entry *entry = arg;
    json_object *names, *digests = NULL;
    const enum result r = ctl_names(ctl, ACCESS_INDEX, index, &names);
    if (r != RESULT_OK)
        return r;
    if (json_object_object_get_ex(names, entry->name, &digests) !=
        entry->rotate)
        return RESULT_INVALID;
    if (!entry->rotate) {
        digests = json_object_new_array();
        json_object_object_add(names, entry->name, digests);
    }
    json_object_array_add(digests, json_object_new_string(entry->digest));
    return RESULT_OK;
}

/* Stores a new key with these members, which are completed, and adds it to the
 * index. The record is first: a failure then leaves a key that was not shown.
 * RESULT_INVALID: the name is taken. */
static enum result key_store(struct ctl *ctl, const char *name,
                             json_object *value, bool rotate,
                             char secret[ACCESS_KEY_SIZE + 1])
{
    char key[ACCESS_RECORD_SIZE], created[CLOCK_TEXT_SIZE];
    const struct store_record record = {.value = value, .ttl = LINK_NEVER};
    struct key_entry entry = {name, key + strlen(ACCESS_RECORD), rotate};
    enum result r = access_make_key(secret);
    if (r != RESULT_OK)
        return store_fail(ctl->store, r, "OpenSSL failed to make a key");
    access_record_key(secret, key);
    clock_text(clock_now(), created);
    json_add_text(value, "name", name);
    json_add_text(value, "created", created);
    json_add_text(value, "sha256", entry.digest);
    r = store_record_put(ctl->store, key, &record, 0);
    if (r == RESULT_OK)
        r = ctl_change_record(ctl, ACCESS_INDEX, key_add_entry, &entry);
    if (r != RESULT_INVALID)
        return r;
    const enum result removed = store_purge(ctl->store, key, 0);
    return removed == RESULT_OK ? r : removed;
}

/* ---- Printing -------------------------------------------------------------
 */

/* The members of a key as an object, or as lines; list: one line. */
static void key_print(struct ctl *ctl, json_object *record, bool list,
                      const char *secret)
{
    static const char *const shown[] = {
        "name", "scopes", "plan", "created", "expires", "revoked", "last_used"};
    const char *fault = access_fault(record);
    const char *state = fault != NULL ? strrchr(fault, ' ') + 1 : "active";
    const char *used = json_text_at(record, "last_used");
    json_object *object = json_object_new_object(), *member;
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        if (json_object_object_get_ex(record, shown[i], &member))
            json_object_object_add(object, shown[i], json_object_get(member));
    json_add_text(object, "state", state);
    if (ctl->json) {
        /* Not through json-c: its memory cannot be wiped. */
        if (secret != NULL)
            printf("{\"key\":\"%s\",%s\n", secret, json_text(object) + 1);
        else
            ctl_print_json(json_object_get(object));
    } else if (list) {
        ctl_say(stdout, "%-24s %-8s %-20s %s", json_text_at(record, "name"),
                state, json_text_at(record, "scopes"),
                used != NULL ? used : "never used");
    } else {
        json_object_object_foreach(object, label, value)
        {
            char text[CLOCK_TEXT_SIZE];
            const bool is_time = json_object_is_type(value, json_type_int);
            if (is_time)
                clock_text(json_object_get_int64(value), text);
            ctl_say(stdout, "%-10s %s", label,
                    is_time ? text : json_object_get_string(value));
        }
    }
    json_object_put(object);
}

/* Prints a key for the only time. */
static void key_reveal(struct ctl *ctl, json_object *record, const char *secret)
{
    if (ctl->json)
        key_print(ctl, record, false, secret);
    else
        puts(secret);
    if (isatty(STDOUT_FILENO))
        fputs("Keep this key now, it is not shown again. It is sent in the "
              "field X-Api-Key, or as Authorization: Bearer.\n",
              stderr);
}

/* ---- The commands -----------------------------------------------------------
 */

/* Reads --expires, "90d" or an RFC 3339 time, if it was given. False: it is
 * neither, or past; reported. */
static bool key_read_expiry(const struct ctl *ctl, int64_t *end)
{
    const char *text = ctl_option(ctl, "expires");
    char days[24] = "";
    uint64_t n = 0;
    const size_t len = text != NULL ? strlen(text) : 0;
    const int64_t now = clock_now();
    *end = 0;
    if (text == NULL)
        return true;
    if (len > 1 && len < sizeof(days) && text[len - 1] == 'd')
        memcpy(days, text, len - 1);
    if (text_number(days, KEY_DAYS_MAX, &n))
        *end = now + (int64_t)n * 86400;
    else if (!clock_parse(text, end))
        *end = 0;
    if (*end > now)
        return true;
    ctl_say(stderr,
            "curt: --expires \"%s\": expected days such as 90d, or a time to "
            "come such as 2030-01-31T00:00:00Z",
            text);
    return false;
}

/* Whether a plan exists; returns the exit status. */
static int key_check_plan(struct ctl *ctl, const char *plan)
{
    char key[STORE_KEY_MAX];
    struct store_record record = {.value = NULL};
    enum result r = RESULT_NOT_FOUND;
    snprintf(key, sizeof(key), PLANS_KEY "%s", plan);
    if (plans_is_name(plan))
        r = store_record_get(ctl->store, key, true, 0, &record);
    json_object_put(record.value);
    if (r == RESULT_NOT_FOUND)
        ctl_say(stderr,
                "curt: no plan is named \"%s\"; create it first: curt plan set",
                plan);
    return r == RESULT_OK          ? 0
           : r == RESULT_NOT_FOUND ? EX_DATAERR
                                   : ctl_store_failed(ctl, r);
}

int ctl_key_create(struct ctl *ctl, const char *name)
{
    const char *scopes = ctl_option(ctl, "scopes");
    const char *plan = ctl_option(ctl, "plan");
    char secret[ACCESS_KEY_SIZE + 1] = "";
    unsigned wanted = ACCESS_CREATE;
    int64_t end;
    int status = EX_DATAERR;
    struct buf text;
    mem_forbid_core_dumps();
    if (!access_name_ok(name)) {
        ctl_say(stderr,
                "curt: the name \"%s\" is not valid: 1 to %d letters, digits, "
                "-, _ and .",
                name, ACCESS_NAME_MAX);
        return status;
    }
    if (scopes != NULL && !access_parse_scopes(scopes, &wanted)) {
        ctl_say(stderr,
                "curt: --scopes \"%s\": expected create, read, manage, admin "
                "or own, separated by commas",
                scopes);
        return status;
    }
    if (!key_read_expiry(ctl, &end) ||
        (plan != NULL && (status = key_check_plan(ctl, plan)) != 0))
        return status;
    json_object *value = json_object_new_object();
    buf_init(&text, 100);
    access_add_scopes(&text, wanted);
    json_add_text(value, "scopes", text.data);
    if (plan != NULL)
        json_add_text(value, "plan", plan);
    if (end != 0)
        json_object_object_add(value, "expires", json_object_new_int64(end));
    const enum result r = key_store(ctl, name, value, false, secret);
    status = r == RESULT_OK || r == RESULT_INVALID ? ctl_status(r)
                                                   : ctl_store_failed(ctl, r);
    if (r == RESULT_OK)
        key_reveal(ctl, value, secret);
    else if (r == RESULT_INVALID)
        ctl_say(stderr,
                "curt: an API key was named \"%s\" already, and a name is not "
                "used again; choose another, or see: curt help key rotate",
                name);
    explicit_bzero(secret, sizeof(secret));
    buf_free(&text);
    json_object_put(value);
    return status;
}

int ctl_key_rotate(struct ctl *ctl, const char *name)
{
    const char *grace = ctl_option(ctl, "grace");
    char secret[ACCESS_KEY_SIZE + 1] = "";
    struct store_record index = {.value = NULL}, record = {.value = NULL};
    uint64_t seconds = KEY_GRACE;
    int64_t end;
    int status;
    mem_forbid_core_dumps();
    if (grace != NULL && !text_number(grace, KEY_GRACE_MAX, &seconds)) {
        ctl_say(stderr, "curt: --grace \"%s\": expected seconds, 0 to %d",
                grace, KEY_GRACE_MAX);
        return EX_DATAERR;
    }
    if (!key_read_expiry(ctl, &end))
        return EX_DATAERR;
    json_object *digests = key_digests(ctl, name, &index, &status);
    if (digests != NULL)
        status = key_read_newest(ctl, digests, &record);
    if (digests != NULL && status == 0) {
        if (end != 0)
            json_object_object_add(record.value, "expires",
                                   json_object_new_int64(end));
        const char *fault = access_fault(record.value);
        if (fault != NULL) {
            ctl_say(stderr, "curt: the API key %s %s%s", name, fault,
                    strcmp(fault, "has expired") == 0 ? "; add --expires" : "");
            status = EX_DATAERR;
        } else {
            const enum result r =
                key_store(ctl, name, record.value, true, secret);
            status = r == RESULT_OK ? 0 : ctl_store_failed(ctl, r);
        }
    }
    if (status == 0)
        status = key_set_all(
            ctl, name, "expires",
            json_object_new_int64(clock_now() + (int64_t)seconds), false, NULL);
    if (status == 0)
        key_reveal(ctl, record.value, secret);
    explicit_bzero(secret, sizeof(secret));
    json_object_put(record.value);
    json_object_put(index.value);
    return status;
}

int ctl_key_switch(struct ctl *ctl, const char *name)
{
    const bool disable = strcmp(ctl->verb, "key disable") == 0;
    char now[CLOCK_TEXT_SIZE];
    if (strcmp(ctl->verb, "key revoke") == 0) {
        clock_text(clock_now(), now);
        return key_set_all(ctl, name, "revoked", json_object_new_string(now),
                           true, "revoked");
    }
    return key_set_all(ctl, name, "disabled",
                       disable ? json_object_new_boolean(true) : NULL, true,
                       disable ? "disabled" : "enabled");
}

int ctl_key_show(struct ctl *ctl, const char *name)
{
    struct store_record index, record = {.value = NULL};
    int status;
    json_object *digests = key_digests(ctl, name, &index, &status);
    if (digests != NULL)
        status = key_read_newest(ctl, digests, &record);
    if (digests != NULL && status == 0) {
        if (!ctl->json && ctl->shown++ > 0)
            putchar('\n');
        key_print(ctl, record.value, false, NULL);
    }
    json_object_put(record.value);
    json_object_put(index.value);
    return status;
}

int ctl_key_list(struct ctl *ctl, const char *argument)
{
    struct store_record index, record;
    json_object *names;
    const enum result r = ctl_read_names(ctl, ACCESS_INDEX, &index, &names);
    int status = 0;
    (void)argument;
    if (r != RESULT_OK) {
        status = ctl_store_failed(ctl, r);
    } else {
        json_object_object_foreach(names, name, digests)
        {
            (void)name;
            if (status == 0)
                status = key_read_newest(ctl, digests, &record);
            if (status == 0) {
                key_print(ctl, record.value, true, NULL);
                json_object_put(record.value);
            }
        }
    }
    json_object_put(index.value);
    return status;
}
