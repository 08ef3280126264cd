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
    "the\n# digest "

/* How much of a failed command's output is shown, in bytes. */
#define OUTPUT_SHOWN 2000

#define WORDS_MAX 64 /* of a command, and a NULL */

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
static void fill_line(const struct setup_steps *s, struct buf *out,
                      const char *line, size_t len)
{
    const size_t before = out->len;
    for (const char *at = line; at < line + len;) {
        const struct setup_pair *p = s->pairs, *end = p + s->pair_count;
        while (p < end && strncmp(at, p->key, strlen(p->key)) != 0)
            p++;
        if (p == end) {
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

char *setup_fill(const struct setup_steps *s, const char *template)
{
    struct buf out;
    buf_init(&out, SETUP_TEXT_MAX);
    for (const char *line = template; *line != '\0';) {
        const size_t len = strcspn(line, "\n");
        const size_t whole = len + (line[len] == '\n');
        fill_line(s, &out, line, whole);
        line += whole;
    }
    return out.len > 0 ? out.data : mem_dup("");
}

const char *setup_add_pair(struct setup_steps *s, const char *key,
                           const char *text)
{
    if (s->pair_count == SETUP_PAIRS_MAX)
        abort();
    char *filled = text != NULL ? setup_fill(s, text) : NULL;
    s->pairs[s->pair_count++] = (struct setup_pair){key, filled};
    return filled;
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
    return text.len > 0 ? text.data : mem_dup("");
}

/* ---- Files ----------------------------------------------------------- */

enum file_state { FILE_NONE, FILE_SAME, FILE_EDITED, FILE_OLD, FILE_FOREIGN };

/* Compares a file with what it is to be, which is marked: it has that text, or
 * had it before it was edited, or an older one, or a text that nothing here
 * wrote. *old, which the caller frees: what it has, or NULL. */
static enum file_state compare_file(const char *path, const char *new,
                                    char **old)
{
    const size_t head = strlen(MARK), all = head + DIGEST_SIZE - 1 + 3;
    char digest[DIGEST_SIZE];
    *old = setup_read(path);
    if (*old == NULL)
        return errno == ENOENT || errno == ENOTDIR ? FILE_NONE : FILE_FOREIGN;
    if (strncmp(*old, new, all) == 0)
        return strcmp(*old, new) == 0 ? FILE_SAME : FILE_EDITED;
    if (strncmp(*old, MARK, head) != 0 || strlen(*old) < all)
        return FILE_FOREIGN;
    digest_text(*old + all, strlen(*old + all), digest);
    return strncmp(*old + head, digest, DIGEST_SIZE - 1) == 0 ? FILE_OLD
                                                              : FILE_FOREIGN;
}

/* A template's text with its mark before it, which the caller frees. */
static char *mark_text(const struct setup_steps *s, const char *template)
{
    char digest[DIGEST_SIZE];
    char *text = setup_fill(s, template);
    digest_text(text, strlen(text), digest);
    char *marked = mem_printf(MARK "%s.\n\n%s", digest, text);
    free(text);
    return marked;
}

bool setup_is_foreign(const struct setup_steps *s, const char *path,
                      const char *text)
{
    char *old, *new = mark_text(s, text), *to = setup_fill(s, path);
    const bool foreign = compare_file(to, new, &old) == FILE_FOREIGN;
    free(old);
    free(new);
    free(to);
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
    if (fd >= 0)
        errno = ENOSPC; /* of a short write */
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

/* Notes what was there before a step. */
static void note_undo(struct setup_steps *s, const char *path, char *text,
                      bool is_link)
{
    if (s->undo_count == SETUP_UNDO_MAX)
        abort();
    s->undo[s->undo_count++] =
        (struct setup_undo){mem_dup(path), text, is_link};
}

bool setup_write(struct setup_steps *s, const char *path, gid_t group,
                 const char *text)
{
    if (s->failed)
        return false;
    char *old, *new = mark_text(s, text), *to = setup_fill(s, path);
    const enum file_state state = compare_file(to, new, &old);
    const bool write = state == FILE_NONE || state == FILE_OLD;
    if (state == FILE_FOREIGN)
        setup_fail(s, "move it to another name to have it written again",
                   "%s: edited, or not written by curt setup", to);
    else if (state == FILE_EDITED && !s->checking)
        ctl_say(s->out, "keep %s, which was edited", to);
    if (write && !s->checking) {
        ctl_say(s->out, "write %s", to);
        s->changed = true;
    }
    if (write && s->dry_run && !s->checking) {
        ctl_print_lines(s->out, "    | ", strstr(new, "\n\n"));
    } else if (write && !s->checking) {
        note_undo(s, to, old, false);
        old = NULL;
        char *const name = strrchr(to, '/');
        *name = '\0';
        if (mkdir(to, 0755) == 0)
            chmod(to, 0755); /* whatever the umask is */
        *name = '/';
        const int fault =
            replace_file(to, new, group, group != (gid_t)-1 ? 0640 : 0644);
        if (fault != 0)
            setup_fail(s, "check the directory and its permissions", "%s: %s",
                       to, strerror(fault));
    }
    free(old);
    free(new);
    free(to);
    return write && !s->checking && !s->failed;
}

void setup_write_file(struct setup_steps *s, const char *path, const char *name)
{
    const struct page_file *f = setup_files;
    while (strcmp(f->name, name) != 0)
        f++; /* it is one of them */
    setup_write(s, path, (gid_t)-1, f->data);
}

void setup_link(struct setup_steps *s, const char *target, const char *path)
{
    struct stat st;
    char present[4096] = "";
    if (s->failed || s->checking)
        return;
    char *to = setup_fill(s, target), *from = setup_fill(s, path);
    const bool exists = lstat(from, &st) == 0;
    if (!exists || readlink(from, present, sizeof(present) - 1) < 0 ||
        strcmp(present, to) != 0) {
        ctl_say(s->out, "link %s -> %s", from, to);
        s->changed = true;
        if (exists && !s->dry_run)
            setup_fail(s, "move it to another name, then run this again",
                       "%s: is not the link to %s", from, to);
        else if (!s->dry_run)
            note_undo(s, from, NULL, true);
        if (!exists && !s->dry_run && symlink(to, from) != 0)
            setup_fail(s, "check the directory and its permissions", "%s: %s",
                       from, strerror(errno));
    }
    free(to);
    free(from);
}

void setup_unlink(struct setup_steps *s, const char *target, const char *path)
{
    char present[4096] = "";
    if (s->failed || s->checking)
        return;
    char *to = setup_fill(s, target), *from = setup_fill(s, path);
    if (readlink(from, present, sizeof(present) - 1) > 0 &&
        strcmp(present, to) == 0) {
        ctl_say(s->out, "remove the link %s", from);
        s->changed = true;
        if (!s->dry_run)
            note_undo(s, from, mem_dup(to), true);
        if (!s->dry_run && unlink(from) != 0)
            setup_fail(s, "check the directory and its permissions", "%s: %s",
                       from, strerror(errno));
    }
    free(to);
    free(from);
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
        if (u->text == NULL || u->is_link)
            unlink(u->path);
        if (u->text != NULL && u->is_link && symlink(u->text, u->path) != 0)
            setup_fail(s, "run this again when there is space",
                       "%s: not taken back: %s", u->path, strerror(errno));
        if (u->text != NULL && !u->is_link && stat(u->path, &st) == 0) {
            /* Group and mode are as before. */
            const int fault =
                replace_file(u->path, u->text, st.st_gid, st.st_mode & 0777);
            if (fault != 0)
                setup_fail(s, "run this again when there is space",
                           "%s: not taken back: %s", u->path, strerror(fault));
        }
    }
    setup_keep(s);
}

void setup_free(struct setup_steps *s)
{
    setup_keep(s);
    while (s->pair_count > 0)
        free(s->pairs[--s->pair_count].text);
}

/* ---- Commands -------------------------------------------------------- */

/* Splits the words of a command; argv points into it. */
static void split_command(char *command, const char *argv[WORDS_MAX])
{
    size_t count = 0;
    for (char *at = command; *(at += strspn(at, " \n")) != '\0';) {
        const bool quoted = *at == '\'';
        if (count == WORDS_MAX - 1)
            abort();
        argv[count++] = at += quoted;
        at += strcspn(at, quoted ? "'" : " \n");
        if (*at != '\0')
            *at++ = '\0';
    }
    argv[count] = NULL;
}

int setup_probe(const struct setup_steps *s, const char *command,
                struct buf *output)
{
    int status = 0;
    pid_t pid;
    const char *argv[WORDS_MAX];
    char *filled = setup_fill(s, command);
    split_command(filled, argv);
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
    free(filled);
    return fault != 0 || !WIFEXITED(status) ? 127 : WEXITSTATUS(status);
}

void setup_run(struct setup_steps *s, const char *command, const char *advice)
{
    if (s->failed || s->checking)
        return;
    struct buf text;
    buf_init(&text, SETUP_TEXT_MAX);
    char *shown = setup_fill(s, command);
    for (char *end; (end = strchr(shown, '\n')) != NULL;)
        *end = ' ';
    ctl_say(s->out, "run %s", shown);
    const int status = s->dry_run ? 0 : setup_probe(s, command, &text);
    if (status != 0)
        setup_fail(s, advice, "%.*s: status %d\n%s", (int)strcspn(shown, " "),
                   shown, status,
                   text.data +
                       (text.len > OUTPUT_SHOWN ? text.len - OUTPUT_SHOWN : 0));
    free(shown);
    buf_free(&text);
}
