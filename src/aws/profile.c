#include "aws/profile.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/source.h"
#include "base/mem.h"
#include "base/text.h"

#define BLANKS   " \t"
#define COMMENTS "#;"

/* A section's beginning, or a setting in it. Strings are in the file's text. */
struct entry {
    const char *profile;
    bool prefixed;    /* [profile NAME] */
    const char *name; /* NULL: the section's beginning */
    const char *value;
};

struct file {
    char *path;  /* NULL: there is no home directory */
    bool hidden; /* in a directory that may not be looked into */
    char *text;  /* a secret, cut into strings; NULL: there is no file */
    size_t len;
    struct entry *entries;
    size_t count;
    size_t room;
};

struct aws_profiles {
    struct file files[AWS_PROFILES_FILES];
};

/* ---- Reading ----------------------------------------------------------- */

/* The state between two lines of a file. */
struct parser {
    struct file *file;
    bool is_config;
    unsigned line;
    const char *fault; /* of that line; NULL: none yet */
    /* The section. */
    bool in_section;
    const char *profile; /* NULL: not a profile */
    bool prefixed;
    /* The setting that a line may continue. */
    bool may_continue;
    size_t indent;
    char *end; /* of its value; NULL: what continues it is skipped */
};

static void add_entry(struct parser *ps, const char *name, const char *value)
{
    struct file *f = ps->file;
    if (f->count == f->room) {
        f->room = f->room > 0 ? f->room * 2 : 32;
        f->entries = mem_resize(f->entries, f->room * sizeof(f->entries[0]));
    }
    f->entries[f->count++] = (struct entry){
        .profile = ps->profile,
        .prefixed = ps->prefixed,
        .name = name,
        .value = value,
    };
}

static char *skip_blanks(char *s)
{
    return s + strspn(s, BLANKS);
}

/* Cuts s off before its end, or before the blanks that are there. */
static void profile_cut(char *s, char *end)
{
    while (end > s && strchr(BLANKS, end[-1]) != NULL)
        end--;
    *end = '\0';
}

/* Removes the quotes of a profile's name. NULL: it is not one word by the rules
 * of the shell, which the AWS CLI applies. */
static const char *profile_unquote(char *name)
{
    size_t len = strlen(name);
    if (name[0] == '"' || name[0] == '\'') {
        const char quotes[] = {name[0], '\0'};
        if (len < 3 || strcspn(name + 1, quotes) != len - 2)
            return NULL;
        name[len - 1] = '\0';
        return name + 1;
    }
    return len > 0 && strpbrk(name, BLANKS "\"'\\") == NULL ? name : NULL;
}

/* The profile of a section; *prefixed: [profile NAME]. NULL: none. */
static const char *profile_of(char *header, bool is_config, bool *prefixed)
{
    size_t word = strcspn(header, BLANKS);
    *prefixed = strncmp(header, "profile", word) == 0 && word == 7 &&
                header[word] != '\0';
    if (is_config && *prefixed)
        return profile_unquote(skip_blanks(header + word));
    if (is_config)
        return strcmp(header, "default") == 0 ? header : NULL;
    return header[0] != '\0' && !*prefixed ? header : NULL;
}

static void take_section(struct parser *ps, char *header)
{
    char *end = header; /* the first ] outside quotes */
    for (char quote = '\0'; *end != '\0' && (quote != '\0' || *end != ']');
         end++) {
        if (quote == *end)
            quote = '\0';
        else if (quote == '\0' && (*end == '"' || *end == '\''))
            quote = *end;
    }
    /* A single quote in a name is unusual, but not a fault. */
    if (*end == '\0')
        end = strchr(header, ']');
    if (end == NULL) {
        ps->fault = "the section's name does not end with ]";
        return;
    }
    char *rest = skip_blanks(end + 1);
    if (*rest != '\0' && strchr(COMMENTS, *rest) == NULL) {
        ps->fault = "something follows the section's name";
        return;
    }
    header = skip_blanks(header);
    profile_cut(header, end);
    ps->in_section = true;
    ps->may_continue = false;
    ps->profile = profile_of(header, ps->is_config, &ps->prefixed);
    if (ps->profile != NULL)
        add_entry(ps, NULL, NULL);
}

static void take_setting(struct parser *ps, char *text, size_t indent)
{
    char *end = text + 1; /* of the line, or where a comment begins */
    while (*end != '\0' &&
           (strchr(COMMENTS, *end) == NULL || strchr(BLANKS, end[-1]) == NULL))
        end++;
    profile_cut(text, end);
    char *equals = strpbrk(text, "=:");
    if (!ps->in_section) {
        ps->fault = "a setting comes before the first section";
        return;
    }
    if (equals == NULL || equals == text) {
        ps->fault = "not a setting; it needs a name, = and a value";
        return;
    }
    profile_cut(text, equals);
    for (char *at = text; *at != '\0'; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    char *value = skip_blanks(equals + 1);
    ps->may_continue = true;
    ps->indent = indent;
    ps->end = value[0] != '\0' ? value + strlen(value) : NULL;
    if (ps->profile != NULL)
        add_entry(ps, text, value);
}

/* Appends a line to the value before it, with a line feed in between, as the
 * SDKs do. The value ends before that line, which has a blank at its beginning,
 * so that it fits in. */
static void continue_value(struct parser *ps, char *text)
{
    if (ps->end == NULL)
        return;
    profile_cut(text, text + strlen(text));
    size_t len = strlen(text);
    *ps->end = '\n';
    memmove(ps->end + 1, text, len + 1);
    ps->end += len + 1;
}

static enum result profile_parse(struct file *f, bool is_config,
                                 struct buf *reason)
{
    struct parser ps = {.file = f, .is_config = is_config};
    char *next = f->text;
    f->len = strlen(f->text);
    if (strncmp(next, TEXT_BYTE_ORDER_MARK, 3) == 0)
        next += 3;
    while (next != NULL && ps.fault == NULL) {
        char *text = next;
        next = strchr(text, '\n');
        if (next != NULL)
            *next++ = '\0';
        ps.line++;
        const size_t len = strlen(text);
        if (len > 0 && text[len - 1] == '\r')
            text[len - 1] = '\0';
        char *start = skip_blanks(text);
        const size_t indent = (size_t)(start - text);
        if (*start == '\0' || strchr(COMMENTS, *start) != NULL)
            continue;
        if (ps.may_continue && indent > ps.indent)
            continue_value(&ps, start);
        else if (*start == '[')
            take_section(&ps, start + 1);
        else
            take_setting(&ps, start, indent);
    }
    if (ps.fault == NULL)
        return RESULT_OK;
    buf_addf(reason, "%s:%u: %s", f->path, ps.line, ps.fault);
    return RESULT_DENIED;
}

/* ---- Files ------------------------------------------------------------- */

/* The path of a file, which the caller frees: the configured one, a ~/ of which
 * is the home directory, else the one there. NULL: there is no home. */
static char *profile_locate(const char *configured, const char *home,
                            const char *name)
{
    if (configured == NULL)
        return home != NULL ? mem_printf("%s/.aws/%s", home, name) : NULL;
    bool tilde =
        configured[0] == '~' && (configured[1] == '/' || configured[1] == '\0');
    if (tilde && home != NULL)
        return mem_printf("%s%s", home, configured + 1);
    return mem_dup(configured);
}

static enum result profile_read(struct file *f, bool is_config, bool is_default,
                                struct buf *reason)
{
    struct stat info;
    if (f->path == NULL)
        return RESULT_OK;
    f->text = aws_found_read_file(f->path, AWS_PROFILES_MAX);
    if (f->text != NULL)
        return profile_parse(f, is_config, reason);
    const int fault = errno;
    f->hidden = fault == EACCES && is_default && stat(f->path, &info) < 0;
    if (f->hidden || fault == ENOENT || fault == ENOTDIR)
        return RESULT_OK;
    if (fault == E2BIG)
        buf_addf(reason, "%s is larger than %u bytes", f->path,
                 AWS_PROFILES_MAX);
    else if (fault == EILSEQ)
        buf_addf(reason, "%s has a NUL byte in it", f->path);
    else if (fault == EACCES)
        buf_addf(reason,
                 "%s: permission denied; let user %u read it, or name "
                 "another file",
                 f->path, (unsigned)geteuid());
    else
        buf_addf(reason, "%s cannot be read: %s", f->path, strerror(fault));
    return RESULT_DENIED;
}

static struct aws_profiles *profiles_new(const struct conf *conf)
{
    struct aws_profiles *p = mem_zalloc(sizeof(*p));
    const char *home = getenv("HOME");
    char text[4096];
    struct passwd entry, *found = NULL;
    if (home == NULL || home[0] == '\0')
        home = getpwuid_r(geteuid(), &entry, text, sizeof(text), &found) == 0 &&
                       found != NULL && found->pw_dir[0] != '\0'
                   ? found->pw_dir
                   : NULL;
    p->files[AWS_PROFILES_CONFIG].path =
        profile_locate(conf->aws_config_file, home, "config");
    p->files[AWS_PROFILES_CREDENTIALS].path =
        profile_locate(conf->aws_shared_credentials_file, home, "credentials");
    return p;
}

enum result aws_profiles_read(const struct conf *conf,
                              struct aws_profiles **out, struct buf *reason)
{
    struct aws_profiles *p = profiles_new(conf);
    enum result r = profile_read(&p->files[AWS_PROFILES_CONFIG], true,
                                 conf->aws_config_file == NULL, reason);
    if (r == RESULT_OK)
        r = profile_read(&p->files[AWS_PROFILES_CREDENTIALS], false,
                         conf->aws_shared_credentials_file == NULL, reason);
    if (r != RESULT_OK) {
        aws_profiles_free(p);
        p = NULL;
    }
    *out = p;
    return r;
}

void aws_profiles_free(struct aws_profiles *p)
{
    for (size_t i = 0; p != NULL && i < AWS_PROFILES_FILES; i++) {
        struct file *f = &p->files[i];
        if (f->text != NULL)
            explicit_bzero(f->text, f->len);
        free(f->text);
        free(f->entries);
        free(f->path);
    }
    free(p);
}

void aws_profiles_add_versions(const struct conf *conf, struct buf *out)
{
    struct aws_profiles *p = profiles_new(conf);
    for (size_t i = 0; i < AWS_PROFILES_FILES; i++) {
        const char *path = p->files[i].path;
        struct stat st;
        if (path != NULL && stat(path, &st) == 0)
            buf_addf(out, "%s %lld %lld.%09ld %llu\n", path,
                     (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                     (long)st.st_mtim.tv_nsec, (unsigned long long)st.st_ino);
    }
    aws_profiles_free(p);
}

/* ---- Settings ---------------------------------------------------------- */

const char *aws_profiles_path(const struct aws_profiles *p,
                              enum aws_profiles_file file)
{
    return p->files[file].path;
}

void aws_profiles_add_places(const struct aws_profiles *p, struct buf *out)
{
    const char *between = "";
    for (size_t i = 0; i < AWS_PROFILES_FILES; i++) {
        const struct file *f = &p->files[i];
        if (f->path == NULL)
            continue;
        buf_addf(out, "%s%s%s", between, f->path,
                 f->hidden ? " (permission denied)" : "");
        between = " or ";
    }
    if (between[0] == '\0')
        buf_add_str(out, "a home directory, which this user does not have");
}

const char *aws_profiles_name(const struct conf *conf)
{
    return conf->aws_profile != NULL ? conf->aws_profile : "default";
}

/* The last entry of that name, or the beginning of a section (name NULL);
 * NULL: none. */
static const struct entry *profile_find(const struct file *f,
                                        const char *profile, bool prefixed,
                                        const char *name)
{
    for (size_t i = f->count; i > 0; i--) {
        const struct entry *e = &f->entries[i - 1];
        if (e->prefixed == prefixed && strcmp(e->profile, profile) == 0 &&
            (name == NULL || e->name == NULL ? name == e->name
                                             : strcmp(e->name, name) == 0))
            return e;
    }
    return NULL;
}

bool aws_profiles_has(const struct aws_profiles *p, const char *profile)
{
    for (size_t i = 0; i < AWS_PROFILES_FILES; i++) {
        if (profile_find(&p->files[i], profile, true, NULL) != NULL ||
            profile_find(&p->files[i], profile, false, NULL) != NULL)
            return true;
    }
    return false;
}

const char *aws_profiles_get_from(const struct aws_profiles *p,
                                  enum aws_profiles_file file,
                                  const char *profile, const char *setting)
{
    const struct file *f = &p->files[file];
    const bool prefixed = profile_find(f, profile, true, NULL) != NULL;
    const struct entry *e = profile_find(f, profile, prefixed, setting);
    return e != NULL && e->value[0] != '\0' ? e->value : NULL;
}

const char *aws_profiles_get(const struct aws_profiles *p, const char *profile,
                             const char *setting)
{
    const char *value =
        aws_profiles_get_from(p, AWS_PROFILES_CREDENTIALS, profile, setting);
    return value != NULL ? value
                         : aws_profiles_get_from(p, AWS_PROFILES_CONFIG,
                                                 profile, setting);
}
