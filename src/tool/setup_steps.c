/* The steps of `curt setup`. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/digest.h"
#include "base/mem.h"
#include "http/page.h"
#include "tool/main.h"
#include "tool/setup.h"

#define MARK                                                                   \
    "# Written by curt setup, and replaced only by it while the rest has "     \
    "the\n"
#define MARK_TWO "# digest "

/* How much of a failed command's output is shown, in bytes. */
#define OUTPUT_SHOWN 2000

extern const struct page_file setup_files[];

void setup_fail(struct setup_steps *s, const char *advice, const char *format,
                ...)
{
    struct buf text;
    va_list ap;
    buf_init(&text, SETUP_TEXT_MAX);
    va_start(ap, format);
    buf_vaddf(&text, format, ap);
    va_end(ap);
    ctl_print_lines(stderr, "curt: ", text.data);
    ctl_say(stderr, "curt: what to do: %s", advice);
    buf_free(&text);
    s->failed = true;
}

/* ---- Texts ----------------------------------------------------------- */

/* Appends a line with its pairs replaced, or nothing if one has no text. */
static void fill_line(struct buf *out, const char *line, size_t len,
                      const struct setup_pair *pairs)
{
    const size_t before = out->len;
    for (const char *at = line; at < line + len;) {
        const struct setup_pair *p = pairs;
        while (p->key != NULL && strncmp(at, p->key, strlen(p->key)) != 0)
            p++;
        if (p->key == NULL) {
            buf_add_char(out, *at++);
        } else if (p->text == NULL) {
            buf_truncate(out, before);
            return;
        } else {
            buf_add_str(out, p->text);
            at += strlen(p->key);
        }
    }
}

char *setup_fill(const char *template, const struct setup_pair *pairs)
{
    struct buf out;
    buf_init(&out, SETUP_TEXT_MAX);
    for (const char *line = template; *line != '\0';) {
        const size_t len = strcspn(line, "\n");
        const size_t whole = len + (line[len] == '\n');
        fill_line(&out, line, whole, pairs);
        line += whole;
    }
    return out.data;
}

char *setup_fill_file(const char *name, const struct setup_pair *pairs)
{
    for (const struct page_file *f = setup_files; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return setup_fill(f->data, pairs);
    abort(); /* a name that the program does not have */
}

char *setup_read(const char *path)
{
    struct buf text;
    char piece[4096];
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return NULL;
    buf_init(&text, SETUP_TEXT_MAX);
    for (size_t n; (n = fread(piece, 1, sizeof(piece), in)) > 0;)
        buf_add(&text, piece, n);
    fclose(in);
    return text.data;
}

/* ---- Files ----------------------------------------------------------- */

static char *mark_text(const char *text)
{
    char digest[DIGEST_SIZE];
    digest_text(text, strlen(text), digest);
    return mem_printf(MARK MARK_TWO "%s.\n\n%s", digest, text);
}

/* Whether a file may get the new text, which is marked. *same: it has it
 * already, or had it before it was edited. */
static bool may_replace(const char *old, const char *new, bool *same)
{
    const size_t head = strlen(MARK MARK_TWO);
    const size_t all = head + DIGEST_SIZE - 1 + strlen(".\n\n");
    char digest[DIGEST_SIZE];
    *same = strncmp(old, new, all) == 0;
    if (*same || strncmp(old, MARK MARK_TWO, head) != 0 || strlen(old) < all)
        return *same;
    digest_text(old + all, strlen(old + all), digest);
    return strncmp(old + head, digest, DIGEST_SIZE - 1) == 0;
}

bool setup_is_foreign(const char *path, const char *text)
{
    bool same = false;
    char *old = setup_read(path);
    char *new = mark_text(text);
    const bool foreign = old != NULL && !may_replace(old, new, &same);
    free(old);
    free(new);
    return foreign;
}

/* Replaces a file in one step. Returns 0 or an error number. */
static int replace_file(const char *path, const char *text, gid_t group,
                        mode_t mode)
{
    char *temporary = mem_printf("%s.curt-new", path);
    const size_t len = strlen(text);
    int fault = 0;
    unlink(temporary); /* left by a run that was killed */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
        fchown(fd, (uid_t)-1, group) != 0 || fchmod(fd, mode) != 0 ||
        fsync(fd) != 0 || rename(temporary, path) != 0) {
        fault = errno;
        unlink(temporary);
    }
    if (fd >= 0)
        close(fd);
    free(temporary);
    return fault;
}

static void make_parent(const char *path)
{
    char *dir = mem_dup(path);
    *strrchr(dir, '/') = '\0';
    if (mkdir(dir, 0755) == 0)
        chmod(dir, 0755); /* whatever the umask is */
    free(dir);
}

/* Notes what was there before a step. */
static void note_undo(struct setup_steps *s, const char *path, char *text)
{
    s->changed = true;
    if (s->undo_count == SETUP_UNDO_MAX)
        abort();
    s->undo[s->undo_count++] = (struct setup_undo){mem_dup(path), text};
}

bool setup_write(struct setup_steps *s, const char *path, gid_t group,
                 const char *text)
{
    bool same = false;
    if (s->failed)
        return false;
    char *old = setup_read(path);
    char *new = mark_text(text);
    const bool may = old == NULL ? errno == ENOENT || errno == ENOTDIR
                                 : may_replace(old, new, &same);
    const bool write = may && !same && !s->checking;
    if (!may)
        setup_fail(s,
                   "move it to another name to have it written again; `curt "
                   "setup --dry-run` with the same options shows its text",
                   "%s: edited, or not written by curt setup", path);
    else if (same && !s->checking && strcmp(old, new) != 0)
        ctl_say(s->out, "keep %s, which was edited", path);
    if (write) {
        ctl_say(s->out, "write %s", path);
        if (s->dry_run) {
            char *shown = mem_dup(text);
            ctl_print_lines(s->out, "    | ", shown);
            free(shown);
            s->changed = true;
        } else {
            note_undo(s, path, old);
            old = NULL;
            make_parent(path);
            const int fault = replace_file(path, new, group,
                                           group != (gid_t)-1 ? 0640 : 0644);
            if (fault != 0)
                setup_fail(s, "check the directory and its permissions",
                           "%s: %s", path, strerror(fault));
        }
    }
    free(old);
    free(new);
    return write && !s->failed;
}

void setup_link(struct setup_steps *s, const char *target, const char *path)
{
    struct stat st;
    char present[4096] = "";
    if (s->failed || s->checking)
        return;
    const bool exists = lstat(path, &st) == 0;
    if (exists && readlink(path, present, sizeof(present) - 1) >= 0 &&
        strcmp(present, target) == 0)
        return;
    ctl_say(s->out, "link %s -> %s", path, target);
    if (exists && !s->dry_run) {
        setup_fail(s, "move it to another name, then run this again",
                   "%s: is not the link to %s", path, target);
        return;
    }
    if (s->dry_run) {
        s->changed = true;
        return;
    }
    note_undo(s, path, NULL);
    if (symlink(target, path) != 0)
        setup_fail(s, "check the directory and its permissions", "%s: %s", path,
                   strerror(errno));
}

void setup_keep(struct setup_steps *s)
{
    while (s->undo_count > 0) {
        struct setup_undo *u = &s->undo[--s->undo_count];
        free(u->path);
        free(u->text);
    }
}

void setup_take_back(struct setup_steps *s)
{
    for (size_t i = s->undo_count; i > 0; i--) {
        const struct setup_undo *u = &s->undo[i - 1];
        struct stat st;
        ctl_say(s->out, "take back %s", u->path);
        if (u->text == NULL)
            unlink(u->path);
        else if (stat(u->path, &st) == 0) /* group and mode are as before */
            replace_file(u->path, u->text, st.st_gid, st.st_mode & 0777);
    }
    setup_keep(s);
}

/* ---- Commands -------------------------------------------------------- */

int setup_probe(const char *const *argv, struct buf *output)
{
    int status = 0;
    pid_t pid;
    const int fd = memfd_create("output", MFD_CLOEXEC);
    const int fds[] = {CHILD_NULL, fd, fd};
    const int fault =
        fd < 0 ? errno
               : child_start(argv[0], argv, environ, fds, 3, false, &pid);
    if (fault != 0) {
        if (output != NULL)
            buf_addf(output, "%s: %s", argv[0], strerror(fault));
    } else {
        char piece[4096];
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        lseek(fd, 0, SEEK_SET);
        for (ssize_t n; (n = read(fd, piece, sizeof(piece))) > 0;)
            if (output != NULL)
                buf_add(output, piece, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
    return fault != 0 || !WIFEXITED(status) ? 127 : WEXITSTATUS(status);
}

void setup_run(struct setup_steps *s, const char *const *argv,
               const char *advice)
{
    struct buf text;
    if (s->failed)
        return;
    buf_init(&text, SETUP_TEXT_MAX);
    for (size_t i = 0; argv[i] != NULL; i++) {
        const bool quoted = strpbrk(argv[i], " \"$*") != NULL;
        buf_addf(&text, quoted ? " '%s'" : " %s", argv[i]);
    }
    ctl_say(s->out, "run%s", text.data);
    if (!s->dry_run) {
        buf_reset(&text);
        const int status = setup_probe(argv, &text);
        if (status != 0)
            setup_fail(s, advice, "%s: status %d\n%s", argv[0], status,
                       text.data + (text.len > OUTPUT_SHOWN
                                        ? text.len - OUTPUT_SHOWN
                                        : 0));
    }
    buf_free(&text);
}
