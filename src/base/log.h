/*
 * The log: one line per event, in logfmt (key=value), in one write(2), so that
 * the lines of many processes never mix.
 *
 *     time=2018-11-29T00:05:02Z level=info proc=worker pid=71
 *         trace_id=1-5bff2bce-... msg="link created" (on one line)
 *
 * It goes to standard error; to syslog(3) instead when standard error is
 * /dev/null or closed, as spawn-fcgi leaves it without -n. Where standard error
 * is the journal of systemd (JOURNAL_STREAM, systemd.exec(5)) the priority
 * takes the place of the time. Bytes that are not printable ASCII are escaped,
 * so that nothing a client sends can forge a line; a line is cut at
 * LOG_LINE_MAX bytes. Secrets are never passed here.
 */
#ifndef CURT_LOG_H
#define CURT_LOG_H

#include <stdbool.h>

#define LOG_LINE_MAX 4096

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* proc names the process in each line (master, worker, janitor, curt); it is
 * kept, not copied. May be called again, after a fork. */
void log_open(const char *proc);

/* Whether the lines go to syslog or to the journal. */
bool log_is_system(void);

/* The least important level that is still written; LOG_LEVEL_INFO at first. */
void log_set_level(enum log_level level);

/* The trace id that each line carries from now on; NULL for none. Kept, not
 * copied: it must live until the next call. */
void log_set_trace(const char *trace_id);

void log_write(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
