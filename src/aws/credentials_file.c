#include "aws/credentials_file.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/profile.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"

#define VERSION 3
#define NAME    "credentials"

struct table {
    struct mapfile_header header;
    _Atomic uint64_t generation; /* 0: nothing was published yet */
    struct aws_credentials_set sets[2];
};

struct aws_credentials_file {
    struct mapfile file;
    struct table *table;
    uint64_t generation; /* last read or published */
};

/* All that decides which credentials the sources give: the settings of AWS,
 * the profiles, the home directory, in which a credential_process may look,
 * and the user. Times in the file are of a clock that starts at a boot. */
static uint64_t credentials_owner(const struct conf *conf)
{
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    for (size_t i = 0; i < conf_key_count(); i++) {
        const char *name = conf_key(i).name;
        if (strncmp(name, "AWS_", 4) == 0 && conf_value(conf, i, &text))
            buf_addf(&text, " is %s\n", name);
    }
    const char *token = conf->aws_container_authorization_token;
    const char *home = getenv("HOME");
    buf_addf(&text, "%s\n%s\n%ld\n", token != NULL ? token : "",
             home != NULL ? home : "", (long)geteuid());
    aws_profiles_add_versions(conf, &text);
    const uint64_t owner = text_hash(text.data) ^ mapfile_boot();
    buf_wipe(&text);
    return owner;
}

struct aws_credentials_file *aws_credentials_file_open(const struct conf *conf)
{
    const struct mapfile_kind kind = {
        .header = {.magic = "curtkey",
                   .version = VERSION,
                   .header_size = offsetof(struct table, sets),
                   .size = sizeof(struct table),
                   .owner = credentials_owner(conf)}};
    struct mapfile file;
    struct stat st;
    const char *reason = "other users can read or link it";
    if (mapfile_is_of_other_user(conf->runtime_dir))
        return NULL;
    if (mapfile_open(conf->runtime_dir, NAME, &kind, &file, &reason) ==
        RESULT_OK) {
        if (fstat(file.fd, &st) == 0 && st.st_uid == geteuid() &&
            (st.st_mode & 077) == 0 && st.st_nlink <= 1 &&
            madvise(file.base, file.size, MADV_DONTDUMP) == 0) {
            struct aws_credentials_file *f = mem_zalloc(sizeof(*f));
            f->file = file;
            f->table = file.base;
            return f;
        }
        mapfile_close(&file);
    }
    log_warning("%s/" NAME ": %s; credentials not shared between processes",
                conf->runtime_dir, reason);
    return NULL;
}

void aws_credentials_file_close(struct aws_credentials_file *f)
{
    if (f == NULL)
        return;
    mapfile_close(&f->file);
    free(f);
}

bool aws_credentials_file_read(struct aws_credentials_file *f,
                               struct aws_credentials_set *out)
{
    struct table *t = f->table;
    uint64_t now = atomic_load_explicit(&t->generation, memory_order_acquire);
    if (now == f->generation)
        return false;
    /* No writer has touched the copy if it is still the selected one
     * afterwards. */
    do {
        f->generation = now;
        memcpy(out, &t->sets[now % 2], sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
        now = atomic_load_explicit(&t->generation, memory_order_acquire);
    } while (now != f->generation);
    /* The file may be damaged. */
    out->id[AWS_CREDENTIALS_ID_SIZE - 1] = '\0';
    out->secret[AWS_CREDENTIALS_SECRET_SIZE - 1] = '\0';
    out->token[AWS_CREDENTIALS_TOKEN_SIZE - 1] = '\0';
    out->where[AWS_CREDENTIALS_TEXT_SIZE - 1] = '\0';
    out->error[AWS_CREDENTIALS_TEXT_SIZE - 1] = '\0';
    if (out->result > RESULT_INTERNAL)
        out->result = RESULT_UNAVAILABLE;
    return true;
}

bool aws_credentials_file_lock(struct aws_credentials_file *f, unsigned wait_us)
{
    return mapfile_lock(&f->file, wait_us);
}

void aws_credentials_file_unlock(struct aws_credentials_file *f)
{
    mapfile_unlock(&f->file);
}

void aws_credentials_file_publish(struct aws_credentials_file *f,
                                  const struct aws_credentials_set *set)
{
    struct table *t = f->table;
    const uint64_t next =
        atomic_load_explicit(&t->generation, memory_order_acquire) + 1;
    /* A reader that gets a byte of what follows finds this generation. */
    atomic_thread_fence(memory_order_release);
    memcpy(&t->sets[next % 2], set, sizeof(*set));
    atomic_store_explicit(&t->generation, next, memory_order_release);
    f->generation = next;
}
