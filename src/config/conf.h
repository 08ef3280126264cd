/*
 * The configuration: a file of `KEY = value` lines and the environment, which
 * wins. One table in conf.c describes every key; the man page and the sample
 * file are checked against it.
 */
#ifndef CURT_CONF_H
#define CURT_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/result.h"
#include "link/url.h"

enum conf_store { CONF_STORE_SQLITE, CONF_STORE_DYNAMODB };

enum conf_auth { CONF_AUTH_KEY, CONF_AUTH_OPEN };
enum conf_policy { CONF_ALLOW, CONF_REFUSE, CONF_WARN };

/* At most count in so many seconds, all of them at once if need be. */
struct conf_rate {
    uint64_t count;
    uint64_t seconds;
};

#define CONF_RATE_MAX         1000000
#define CONF_RATE_SECONDS_MAX 86400

/* Filled by conf_load(); strings are owned by it and NULL where the key is
 * absent and has no default. */
struct conf {
    char *app_url;
    struct url_app app; /* app_url, taken apart */
    uint64_t min_char;
    uint64_t max_char;
    int store; /* enum conf_store */
    char *state_dir;
    char *runtime_dir;
    char *table;
    uint64_t link_ttl;        /* seconds; 0: links never expire */
    uint64_t max_body;        /* bytes */
    uint64_t store_timeout;   /* seconds */
    uint64_t drain_timeout;   /* seconds */
    uint64_t request_timeout; /* seconds */
    uint64_t cache_size;      /* bytes; 0: no cache */
    bool cache_size_chosen;   /* not set: cache_size is the most to take */
    uint64_t cache_ttl;       /* seconds; 0: no cache */
    uint64_t cache_stale;     /* seconds */
    uint64_t hits_flush;      /* seconds */
    char *home; /* "page", "off", or where GET of the prefix leads; not NULL */
    char *site_name;
    char *site_text;
    char *site_color;               /* "#rrggbb" */
    int create_auth;                /* enum conf_auth */
    char *cors_origins;             /* words, or NULL */
    int limits;                     /* 0 or 1 */
    struct conf_rate create_limit;  /* of an address, without a key */
    struct conf_rate auth_limit;    /* of an address, wrong keys */
    struct conf_rate unknown_limit; /* of an address, unknown ids */
    int redirect_status;            /* 0 to 3: 301, 302, 307 or 308 */
    int case_insensitive;           /* 0 or 1 */
    char *url_schemes;              /* words, not NULL */
    char *blocked_hosts;            /* a file, or NULL */
    char *allowed_hosts;
    int private_targets; /* enum conf_policy, as the next two */
    int shortener_targets;
    int lookalike_hosts;
    int log_level; /* enum log_level */
    char *aws_region;
    char *aws_default_region;
    char *aws_access_key_id;
    char *aws_secret_access_key;
    char *aws_session_token;
    char *aws_endpoint_url_dynamodb;
    char *aws_endpoint_url;
    char *aws_endpoint_url_sts;
    int aws_use_fips_endpoint; /* 0 or 1, as the other AWS choices */
    int aws_use_dualstack_endpoint;
    char *aws_ca_bundle;
    char *aws_profile;
    char *aws_config_file;
    char *aws_shared_credentials_file;
    char *aws_web_identity_token_file;
    char *aws_role_arn;
    char *aws_role_session_name;
    char *aws_container_credentials_relative_uri;
    char *aws_container_credentials_full_uri;
    char *aws_container_authorization_token;
    char *aws_container_authorization_token_file;
    char *aws_ec2_metadata_service_endpoint;
    int aws_ec2_metadata_service_endpoint_mode; /* 1: IPv6 */
    int aws_ec2_metadata_disabled;
};

/* Limits of the keys, as sizes of buffers. */
#define CONF_CHAR_MAX   64         /* MAX_CHAR */
#define CONF_BODY_MAX   (1u << 20) /* MAX_BODY, bytes */
#define CONF_FAULTS_MAX 65536 /* bytes of faults that conf_load() appends */
#define CONF_TEXT_MAX   (1u << 20) /* bytes that conf_write() appends */

/* Reads "COUNT/SECONDS", each from 1 to its limit. False: it is not that. */
bool conf_parse_rate(const char *value, struct conf_rate *rate);

/* Reads the file and the environment. file: the value of -c, or NULL for
 * CURT_CONF, else the default file, the only one that may be absent. On
 * RESULT_OK *conf is filled and the caller releases it with conf_free(). On
 * RESULT_INVALID *conf is empty and faults has one line per fault:
 * "FILE:LINE: KEY: what is wrong, and what is expected"; RESULT_DENIED is
 * the same for a file that this user may not read. */
enum result conf_load(const char *file, struct conf *conf,
                      struct buf *faults) MUST_CHECK;

/* Releases what conf_load() filled, secrets wiped; an empty conf is allowed. */
void conf_free(struct conf *conf);

/* Loads the configuration again and logs how that went. True: conf has the new
 * one, but for the keys that only a restart changes, which are logged; *old has
 * the one before, for the caller to release. False: nothing has changed. */
bool conf_reload(const char *file, struct conf *conf, struct conf *old);

/* Appends the configuration as a file that a program with the same environment
 * can load: all keys that are not set there. It has secrets: the caller wipes
 * out. */
void conf_write(const struct conf *conf, struct buf *out);

/* One key in the table. Static storage. */
struct conf_key {
    const char *name;
    const char *type;     /* string, secret, directory, number or choice */
    const char *fallback; /* the default; NULL for none */
    bool reloadable;      /* HUP takes a change over; else a restart does */
};

/* The keys are numbered 0 to conf_key_count() - 1. */
size_t conf_key_count(void);
struct conf_key conf_key(size_t i);

/* Appends what key i may be: "1 to 64", "sqlite or dynamodb", "text". */
void conf_key_range(size_t i, struct buf *out);

/* Appends the effective value of key i, a secret as asterisks; false, and
 * nothing appended, where it has none. */
bool conf_value(const struct conf *conf, size_t i, struct buf *out);

#endif
