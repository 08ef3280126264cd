#include "aws_share.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws_profile.h"
#include "buf.h"
#include "hash.h"
#include "log.h"
#include "mapfile.h"
#include "mem.h"

#define VERSION 2
#define NAME    "credentials"

/* How much longer than it said the holder of the lock may take, in ms. */
#define GRACE_MS 1000

struct table {
    struct mapfile_header header;
    _Atomic uint64_t generation;
    _Atomic int64_t until;
    struct aws_share_state states[2];
};

struct aws_share {
    struct mapfile file;
    struct table *table;
};

static uint64_t share_mix(uint64_t n, const char *s)
{
    return (n ^ (s != NULL ? hash_text(s) : 1)) * 1099511628211u;
}

/* path may be NULL: there is no such place. */
static uint64_t mix_file(uint64_t n, const char *path)
{
    struct stat st;
    n = share_mix(n, path);
    if (path == NULL || stat(path, &st) < 0)
        return n;
    char *version =
        mem_printf("%lld %lld.%09ld %llu", (long long)st.st_size,
                   (long long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec,
                   (unsigned long long)st.st_ino);
    n = share_mix(n, version);
    free(version);
    return n;
}

/* The files of profiles: one that was edited may mean other keys. Files that
 * cannot be read give none at all. */
static uint64_t mix_profiles(uint64_t n, const struct conf *conf)
{
    struct aws_profiles *profiles;
    struct buf reason;
    buf_init(&reason, AWS_SHARE_TEXT_SIZE);
    if (aws_profiles_read(conf, &profiles, &reason) == RESULT_OK) {
        n = mix_file(n, aws_profiles_config_file(profiles));
        n = mix_file(n, aws_profiles_credentials_file(profiles));
        aws_profiles_free(profiles);
    }
    buf_free(&reason);
    return n;
}

/* Whose keys they are: all that decides what the sources give. Static keys of
 * the configuration are not among it: they are never shared. */
static uint64_t owner_of(const struct conf *conf)
{
    const char *const texts[] = {
        conf->aws_profile,
        conf->aws_config_file,
        conf->aws_shared_credentials_file,
        getenv("HOME"), /* what a credential_process finds there */
        conf->aws_web_identity_token_file,
        conf->aws_role_arn,
        conf->aws_role_session_name,
        conf->aws_endpoint_url,
        conf->aws_endpoint_url_sts,
        conf->aws_region,
        conf->aws_default_region,
        conf->aws_ca_bundle,
        conf->aws_container_credentials_relative_uri,
        conf->aws_container_credentials_full_uri,
        conf->aws_container_authorization_token,
        conf->aws_container_authorization_token_file,
        conf->aws_ec2_metadata_service_endpoint,
    };
    uint64_t n = mapfile_boot(); /* its times are of a clock that boots start */
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        n = share_mix(n, texts[i]);
    char *rest = mem_printf("%d %d %d %d %ld", conf->aws_use_fips_endpoint,
                            conf->aws_use_dualstack_endpoint,
                            conf->aws_ec2_metadata_service_endpoint_mode,
                            conf->aws_ec2_metadata_disabled, (long)geteuid());
    n = share_mix(n, rest);
    free(rest);
    return mix_profiles(n, conf);
}

/* A file that somebody else put there could be read by them. */
static bool is_ours(const struct mapfile *m)
{
    struct stat st;
    return fstat(m->fd, &st) == 0 && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0 && st.st_nlink <= 1;
}

static struct aws_share *share_use(const struct mapfile *file)
{
    struct aws_share *s = mem_zalloc(sizeof(*s));
    s->file = *file;
    s->table = file->base;
    return s;
}

struct aws_share *aws_share_open(const struct conf *conf)
{
    const struct mapfile_kind kind = {
        .header = {.magic = "curtkey",
                   .version = VERSION,
                   .header_size = offsetof(struct table, states),
                   .size = sizeof(struct table),
                   .owner = owner_of(conf)}};
    struct mapfile file;
    const char *reason = "it can be read or linked by others";
    if (mapfile_is_of_other_user(conf->runtime_dir))
        return NULL;
    if (mapfile_open(conf->runtime_dir, NAME, &kind, &file, &reason) ==
        RESULT_OK) {
        if (is_ours(&file) && madvise(file.base, file.size, MADV_DONTDUMP) == 0)
            return share_use(&file);
        mapfile_close(&file);
    }
    log_warning("%s/" NAME ": %s; credentials not shared between "
                "processes",
                conf->runtime_dir, reason);
    return NULL;
}

void aws_share_close(struct aws_share *s)
{
    if (s == NULL)
        return;
    mapfile_close(&s->file);
    free(s);
}

uint64_t aws_share_generation(const struct aws_share *s)
{
    return atomic_load_explicit(&s->table->generation, memory_order_acquire);
}

/* What came out of a file, which may be damaged, ends where it must. */
static void close_texts(struct aws_share_state *state)
{
    state->keys.id[AWS_SHARE_ID_SIZE - 1] = '\0';
    state->keys.secret[AWS_SHARE_SECRET_SIZE - 1] = '\0';
    state->keys.token[AWS_SHARE_TOKEN_SIZE - 1] = '\0';
    state->keys.where[AWS_SHARE_TEXT_SIZE - 1] = '\0';
    state->failure.text[AWS_SHARE_TEXT_SIZE - 1] = '\0';
    if (state->failure.result > RESULT_INTERNAL)
        state->failure.result = RESULT_UNAVAILABLE;
}

uint64_t aws_share_read(const struct aws_share *s, struct aws_share_state *out)
{
    struct table *t = s->table;
    uint64_t before, after = aws_share_generation(s);
    /* A copy that is still in force afterwards was not written to meanwhile:
     * a writer fills the one that is not. */
    do {
        before = after;
        memcpy(out, &t->states[before % 2], sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
        after = aws_share_generation(s);
    } while (after != before);
    close_texts(out);
    return before;
}

bool aws_share_lock(struct aws_share *s, unsigned wait_us, int64_t until)
{
    if (!mapfile_lock(&s->file, wait_us))
        return false;
    atomic_store(&s->table->until, until);
    return true;
}

void aws_share_unlock(struct aws_share *s)
{
    mapfile_unlock(&s->file);
}

bool aws_share_overdue(const struct aws_share *s, int64_t now_ms)
{
    return now_ms > atomic_load(&s->table->until) + GRACE_MS;
}

uint64_t aws_share_publish(struct aws_share *s,
                           const struct aws_share_state *state)
{
    struct table *t = s->table;
    uint64_t next =
        atomic_load_explicit(&t->generation, memory_order_acquire) + 1;
    /* Who reads a byte of what follows finds the generation that is now. */
    atomic_thread_fence(memory_order_release);
    memcpy(&t->states[next % 2], state, sizeof(*state));
    atomic_store_explicit(&t->generation, next, memory_order_release);
    return next;
}
