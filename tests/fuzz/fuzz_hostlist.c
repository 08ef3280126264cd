/* The lists of hosts: the input is the text file. Each line is parsed; for some
 * inputs the file is compiled as well, which reads the list of public suffixes
 * and so takes long, and then what a line names must be found. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "link/host.h"
#include "service/hostlist.h"

/* Takes one line, and looks for what it names in the list, if not NULL. */
static void check_line(struct hostlist *list, const struct conf *conf,
                       const char *line, size_t len)
{
    struct buf name, again;
    bool below;
    buf_init(&name, 2000);
    buf_init(&again, 2000);
    if (hostlist_parse(line, len, &name, &below) && name.len > 0) {
        MUST(!buf_failed(&name));
        MUST(strlen(name.data) == name.len);
        MUST(host_normalise(name.data, name.len, &again) == NULL);
        MUST(strcmp(name.data, again.data) == 0);
        if (below) {
            buf_reset(&again);
            buf_addf(&again, "a.%s", name.data);
        }
        MUST(list == NULL || hostlist_find(list, conf, HOSTLIST_BLOCKED,
                                           again.data) == RESULT_OK);
    }
    buf_free(&again);
    buf_free(&name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char dir[] = "/tmp/fuzz-hosts-XXXXXX";
    char file[40];
    if (fd < 0) {
        MUST(mkdtemp(dir) != NULL);
        log_set_level(LOG_LEVEL_ERROR);
        fd = memfd_create("hosts", MFD_CLOEXEC);
        MUST(fd >= 0);
    }
    MUST(ftruncate(fd, 0) == 0);
    MUST(pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);

    struct conf conf = {.runtime_dir = dir, .blocked_hosts = file};
    struct hostlist lists[HOSTLIST_KINDS] = {{.table = NULL}};
    struct hostlist *list = size % 16 == 0 ? &lists[0] : NULL;
    MUST(list == NULL || hostlist_find(list, &conf, HOSTLIST_BLOCKED, "x") !=
                             RESULT_UNAVAILABLE);
    const char *s = (const char *)data;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(s + at, '\n', size - at);
        const size_t len = (end != NULL ? (size_t)(end - s) : size) - at;
        check_line(list, &conf, s + at, len);
        at += len + 1;
    }
    hostlist_close_all(lists);
    return 0;
}
