/*
 * API keys: who may do what. A key is 256 random bits, shown once, when it is
 * created. The store has only its SHA-256 digest: the record "~key~DIGEST" has
 * the members
 *
 *     name, scopes ("create,own"), plan, created: texts
 *     sha256: the digest, as in the name of the record
 *     expires: seconds since the epoch; disabled: true; revoked: a time
 *     last_used: a day, "2018-11-29"
 *
 * and the record "~keys" has the digests of each name, the newest last:
 * {"names": {"NAME": ["DIGEST", ...]}}. A name stays in it for ever.
 */
#ifndef CURT_ACCESS_H
#define CURT_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/result.h"
#include "service/app.h"

struct json_object;

/* "curt_", 43 letters and digits, and the CRC-32 of all that in 6 digits of
 * base 62: secret scanners know it by its form, and a typo can be told from a
 * key that does not exist. */
#define ACCESS_PREFIX      "curt_"
#define ACCESS_RANDOM_SIZE 43
#define ACCESS_CRC_SIZE    6
#define ACCESS_KEY_SIZE                                                        \
    (sizeof(ACCESS_PREFIX) - 1 + ACCESS_RANDOM_SIZE + ACCESS_CRC_SIZE)

/* Longest name of a key or a plan: letters, digits, '-', '_' and '.'. */
#define ACCESS_NAME_MAX 64

/* The key of a record, ACCESS_RECORD and a digest (digest.h), and its NUL. */
#define ACCESS_RECORD      "~key~"
#define ACCESS_RECORD_SIZE (sizeof(ACCESS_RECORD) - 1 + DIGEST_SIZE)

/* The record that lists all keys. */
#define ACCESS_INDEX "~keys"

/* What a key is good for. */
enum access_scope {
    ACCESS_CREATE = 1,
    ACCESS_READ = 2,
    ACCESS_MANAGE = 4,
    ACCESS_ADMIN = 8, /* and all of the above */
    ACCESS_OWN = 16   /* but only for links that the key has created */
};

/* Whose key it is. */
struct access_identity {
    char name[ACCESS_NAME_MAX + 1]; /* "" without a key */
    char plan[ACCESS_NAME_MAX + 1]; /* "" for none */
    unsigned scopes;                /* enum access_scope */
};

bool access_name_ok(const char *name);

/* Reads names of scopes, separated by commas or spaces. False: one is unknown,
 * or there is none. */
bool access_parse_scopes(const char *list, unsigned *scopes);

/* Appends the names, separated by commas. */
void access_add_scopes(struct buf *out, unsigned scopes);

/* Draws a key. RESULT_INTERNAL: OpenSSL failed. The caller wipes it. */
enum result access_make_key(char key[ACCESS_KEY_SIZE + 1]) MUST_CHECK;

/* The key of the record of an API key. */
void access_record_key(const char *key, char record[ACCESS_RECORD_SIZE]);

/* Why a key with this record cannot be used, to complete "The API key ...", as
 * static text; NULL: it can. */
const char *access_fault(struct json_object *record);

/* Whether text is a key with the scope. RESULT_OK: it is, and *who is filled.
 * RESULT_INVALID: it is not a key that can be used. RESULT_DENIED: it lacks the
 * scope. *reason, static text, completes "The API key ..." for both.
 * RESULT_UNAVAILABLE: the store failed, and neither the cache knows the key;
 * store_error() says why.
 *
 * Form and checksum are checked first, without the store. What the store
 * answers is cached like a link (lookup.h), so that a change on this host
 * counts with the next request, and one on another host within CACHE_TTL. The
 * time that a wrong key takes does not depend on how much of it is right: only
 * its digest is looked up and compared. The first use of a day is recorded. */
enum result access_check(struct app *app, const char *text,
                         enum access_scope scope, struct access_identity *who,
                         const char **reason) MUST_CHECK;

#endif
