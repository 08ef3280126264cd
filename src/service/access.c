#include "service/access.h"

#include <json-c/json.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "link/ids.h"
#include "service/lookup.h"

/* How long a worker does not record the use of keys after a failure to do so,
 * in milliseconds. */
#define TOUCH_PAUSE_MS 60000

/* "2018-11-29" */
#define DAY_SIZE 10

static const struct {
    const char *name;
    enum access_scope scope;
} access_scopes[] = {
    {"create", ACCESS_CREATE}, {"read", ACCESS_READ}, {"manage", ACCESS_MANAGE},
    {"admin", ACCESS_ADMIN},   {"own", ACCESS_OWN},
};

#define SCOPE_COUNT (sizeof(access_scopes) / sizeof(access_scopes[0]))

bool access_name_ok(const char *name)
{
    const size_t len = strspn(name, TEXT_ALNUM "-_.");
    return len > 0 && len <= ACCESS_NAME_MAX && name[len] == '\0';
}

bool access_parse_scopes(const char *list, unsigned *scopes)
{
    *scopes = 0;
    for (list += strspn(list, ", "); *list != '\0';
         list += strspn(list, ", ")) {
        const size_t len = strcspn(list, ", ");
        size_t i = 0;
        while (i < SCOPE_COUNT &&
               (strlen(access_scopes[i].name) != len ||
                strncmp(access_scopes[i].name, list, len) != 0))
            i++;
        if (i == SCOPE_COUNT)
            return false;
        *scopes |= access_scopes[i].scope;
        list += len;
    }
    return *scopes != 0;
}

void access_add_scopes(struct buf *out, unsigned scopes)
{
    const size_t begin = out->len;
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        if (scopes & access_scopes[i].scope)
            buf_addf(out, "%s%s", out->len > begin ? "," : "",
                     access_scopes[i].name);
}

/* ---- The text of a key ------------------------------------------------ */

/* The checksum of the len bytes at text, as six digits of base 62. */
static void access_crc(const char *text, size_t len, char crc[ACCESS_CRC_SIZE])
{
    static const char digits[] = TEXT_DIGITS TEXT_UPPER TEXT_LOWER;
    uint64_t n = crc32(0, (const unsigned char *)text, (unsigned)len);
    for (size_t i = ACCESS_CRC_SIZE; i-- > 0; n /= 62)
        crc[i] = digits[n % 62];
}

enum result access_make_key(char key[ACCESS_KEY_SIZE + 1])
{
    char random[IDS_MAX + 1];
    const enum result r =
        ids_make(ACCESS_RANDOM_SIZE, ACCESS_RANDOM_SIZE, random);
    if (r == RESULT_OK) {
        const int len =
            snprintf(key, ACCESS_KEY_SIZE + 1, "%s%s", ACCESS_PREFIX, random);
        access_crc(key, (size_t)len, key + len);
        key[ACCESS_KEY_SIZE] = '\0';
    }
    OPENSSL_cleanse(random, sizeof(random));
    return r;
}

void access_record_key(const char *key, char record[ACCESS_RECORD_SIZE])
{
    memcpy(record, ACCESS_RECORD, sizeof(ACCESS_RECORD));
    digest_text(key, strlen(key), record + strlen(ACCESS_RECORD));
}

/* Why text cannot be a key at all; NULL: it can. */
static const char *access_text_fault(const char *text)
{
    char crc[ACCESS_CRC_SIZE];
    const size_t prefix = sizeof(ACCESS_PREFIX) - 1;
    if (strncmp(text, ACCESS_PREFIX, prefix) != 0 ||
        strspn(text + prefix, TEXT_ALNUM) != ACCESS_KEY_SIZE - prefix ||
        text[ACCESS_KEY_SIZE] != '\0')
        return "is malformed";
    access_crc(text, ACCESS_KEY_SIZE - ACCESS_CRC_SIZE, crc);
    return memcmp(text + ACCESS_KEY_SIZE - ACCESS_CRC_SIZE, crc, sizeof(crc)) ==
                   0
               ? NULL
               : "has a typo";
}

/* ---- Checking a key ---------------------------------------------------- */

const char *access_fault(json_object *record)
{
    json_object *member = NULL;
    if (json_text_at(record, "revoked") != NULL)
        return "is revoked";
    if (json_object_object_get_ex(record, "expires", &member) &&
        clock_now() >= json_object_get_int64(member))
        return "has expired";
    if (json_object_object_get_ex(record, "disabled", &member) &&
        json_object_get_boolean(member))
        return "is disabled";
    return NULL;
}

/* Records the day of a key's use. That another process did so meanwhile, or
 * that it fails, does not concern the request. */
static void access_touch(struct app *app, const char *record_key,
                         json_object *known)
{
    const int64_t now_ms = clock_monotonic_ms();
    const char *last = json_text_at(known, "last_used");
    char day[CLOCK_TEXT_SIZE];
    struct store_record record;
    clock_text(clock_now(), day);
    day[DAY_SIZE] = '\0';
    if ((last != NULL && strcmp(last, day) == 0) || now_ms < app->touch_ms)
        return;
    enum result r =
        store_record_get(app->store, record_key, true, app->deadline, &record);
    last = r == RESULT_OK ? json_text_at(record.value, "last_used") : NULL;
    if (r == RESULT_OK && (last == NULL || strcmp(last, day) != 0)) {
        json_add_text(record.value, "last_used", day);
        r = store_record_put(app->store, record_key, &record, app->deadline);
    }
    json_object_put(record.value);
    cache_forget(app->cache, record_key);
    if (r != RESULT_OK && r != RESULT_CONFLICT) {
        app->touch_ms = now_ms + TOUCH_PAUSE_MS;
        log_debug("the use of an API key was not recorded (%s): %s",
                  result_text(r), store_error(app->store));
    }
}

/* Decides by the record that was found. */
static enum result access_judge(json_object *record, const char *digest,
                                enum access_scope scope,
                                struct access_identity *who,
                                const char **reason)
{
    const char *name = json_text_at(record, "name");
    const char *plan = json_text_at(record, "plan");
    const char *scopes = json_text_at(record, "scopes");
    const char *sha256 = json_text_at(record, "sha256");
    if (name == NULL || !access_name_ok(name) || scopes == NULL ||
        !access_parse_scopes(scopes, &who->scopes) || sha256 == NULL ||
        strlen(sha256) != strlen(digest) ||
        CRYPTO_memcmp(sha256, digest, strlen(digest)) != 0) {
        *reason = "is unknown";
        return RESULT_INVALID;
    }
    *reason = access_fault(record);
    if (*reason != NULL)
        return RESULT_INVALID;
    if ((who->scopes & (scope | (unsigned)ACCESS_ADMIN)) == 0) {
        *reason = "lacks the scope that this needs";
        return RESULT_DENIED;
    }
    snprintf(who->name, sizeof(who->name), "%s", name);
    snprintf(who->plan, sizeof(who->plan), "%s", plan != NULL ? plan : "");
    return RESULT_OK;
}

enum result access_check(struct app *app, const char *text,
                         enum access_scope scope, struct access_identity *who,
                         const char **reason)
{
    char key[ACCESS_RECORD_SIZE];
    struct cache_entry entry;
    json_object *record = NULL;
    *who = (struct access_identity){.name = ""};
    *reason = access_text_fault(text);
    if (*reason != NULL)
        return RESULT_INVALID;
    access_record_key(text, key);
    enum result r = lookup_entry(app, key, &entry);
    if (r == RESULT_NOT_FOUND) {
        *reason = "is unknown";
        return RESULT_INVALID;
    }
    if (r != RESULT_OK ||
        json_parse(entry.url, entry.url_len, JSON_LEVELS, &record) != RESULT_OK)
        return RESULT_UNAVAILABLE;
    r = access_judge(record, key + strlen(ACCESS_RECORD), scope, who, reason);
    if (r == RESULT_OK)
        access_touch(app, key, record);
    json_object_put(record);
    return r;
}
