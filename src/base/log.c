#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

/* The log is one of the two things that are global (STYLE.md, "Ours"). */
static struct {
    const char *proc;
    const char *trace_id;
    enum log_level level;
    bool to_syslog;
    bool to_journal;
} state = {.proc = "curt", .level = LOG_LEVEL_INFO};

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_open(const char *proc)
{
    struct stat st;
    const char *journal = getenv("JOURNAL_STREAM");
    char stream[64] = "";
    state.proc = proc;
    /* Closed, or /dev/null, which is device 1:3 on Linux. */
    state.to_syslog = fstat(STDERR_FILENO, &st) < 0
                          ? errno == EBADF
                          : S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
    if (state.to_syslog)
        openlog("curt", LOG_PID, LOG_DAEMON);
    else
        snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
                 (uintmax_t)st.st_ino);
    state.to_journal = journal != NULL && strcmp(journal, stream) == 0;
}

bool log_is_system(void)
{
    return state.to_syslog || state.to_journal;
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

void log_set_trace(const char *trace_id)
{
    state.trace_id = trace_id;
}

/* Appends label="value" to the line of size bytes, of which used are taken;
 * what could end the line or the quotes is escaped. Returns the bytes taken. */
static size_t add_quoted(char *line, size_t size, size_t used,
                         const char *label, const char *value)
{
    const size_t len = strlen(value);
    used = (size_t)(stpcpy(stpcpy(line + used, label), "=\"") - line);
    for (size_t pos = 0; pos < len && used + UTF8_ESCAPE_MAX + 1 < size;) {
        if (value[pos] == '"' || value[pos] == '\\')
            line[used++] = '\\';
        used += utf8_escape(value, len, &pos, true, line + used);
    }
    line[used++] = '"';
    return used;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > state.level)
        return;
    const int saved = errno;
    char message[LOG_LINE_MAX / 2], line[LOG_LINE_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof(message), format, ap);
    va_end(ap);

    char now[CLOCK_TEXT_SIZE], before[CLOCK_TEXT_SIZE + 8] = "";
    if (state.to_journal) {
        /* It takes the priority from here: sd-daemon(3). */
        snprintf(before, sizeof(before), "<%d>", levels[level].priority);
    } else if (!state.to_syslog) {
        clock_text(clock_now(), now);
        snprintf(before, sizeof(before), "time=%sZ ", now);
    }
    size_t used = (size_t)snprintf(
        line, sizeof(line) / 4, "%slevel=%s proc=%s pid=%ld ", before,
        levels[level].name, state.proc, (long)getpid());
    if (state.trace_id != NULL) {
        used = add_quoted(line, sizeof(line) / 2, used, "trace_id",
                          state.trace_id);
        line[used++] = ' ';
    }
    used = add_quoted(line, sizeof(line) - 1, used, "msg", message);
    if (state.to_syslog) {
        line[used] = '\0';
        syslog(levels[level].priority, "%s", line);
    } else {
        line[used++] = '\n';
        for (const char *at = line, *end = line + used; at < end;) {
            const ssize_t n = write(STDERR_FILENO, at, (size_t)(end - at));
            if (n == 0 || (n < 0 && errno != EINTR))
                break; /* there is nowhere to report it */
            at += n > 0 ? n : 0;
        }
    }
    errno = saved;
}
