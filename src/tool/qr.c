/* curt qr and curt create --qr: QR codes of short URLs. See curt(1). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tool/main.h"

bool ctl_qr_option(struct ctl_qr *q, const char *name, const char *argument)
{
    q->given = true;
    q->ascii |= strcmp(name, "ascii") == 0;
    q->for_create |= strcmp(name, "qr") == 0;
    if (strcmp(name, "output") == 0)
        q->output = argument;
    if (!qr_set(&q->image, name, argument))
        ctl_say(stderr, "curt: --%s", q->image.fault);
    return q->image.fault[0] == '\0';
}

bool ctl_qr_ready(struct ctl_qr *q, const char *verb, bool one)
{
    const bool chosen = (q->image.given & QR_FORMAT_GIVEN) != 0;
    if (chosen && q->output == NULL)
        q->output = "-";
    const char *dot = q->output != NULL ? strrchr(q->output, '.') : NULL;
    if (q->given && strcmp(verb, q->for_create ? "create" : "qr") != 0)
        ctl_say(stderr, "curt: QR code options are for qr and create --qr");
    else if (q->output != NULL && !one)
        ctl_say(stderr, "curt: --output and --format are for one link");
    else if (q->output != NULL && strcmp(q->output, "-") != 0 && !chosen &&
             !qr_set(&q->image, "format", dot != NULL ? dot + 1 : ""))
        ctl_say(stderr, "curt: --output %s: the %s, or add --format", q->output,
                q->image.fault);
    else
        return true;
    return false;
}

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *value = NULL;
    for (size_t i = 0; i < 3 && (value == NULL || value[0] == '\0'); i++)
        value = getenv(names[i]);
    return value != NULL && strcasestr(value, "utf") != NULL;
}

/* The file has all of its contents, or stays as it was. */
static int write_file(const char *file, const struct buf *data)
{
    struct stat st;
    char *part = mem_printf("%s.part", file);
    unlink(part); /* of a run that was killed */
    const bool special = lstat(file, &st) == 0 && !S_ISREG(st.st_mode);
    FILE *f = special ? NULL : fopen(part, "wxe");
    const bool ok = f != NULL && fwrite(data->data, data->len, 1, f) == 1 &&
                    fflush(f) == 0 && fsync(fileno(f)) == 0 &&
                    rename(part, file) == 0;
    if (!ok)
        ctl_say(stderr, "curt: %s: %s", file,
                strerror(special ? EEXIST : errno));
    unlink(part);
    if (f != NULL)
        fclose(f);
    free(part);
    return ok ? 0 : EX_IOERR;
}

int ctl_qr_draw(struct ctl *ctl, const char *id)
{
    const char *output = ctl->qr.output;
    struct qr_options *o = &ctl->qr.image;
    struct buf image;
    int status = EX_DATAERR;
    buf_init(&image, QR_MAX);
    if (output == NULL) {
        o->format = ctl->qr.ascii || !locale_is_utf8() ? QR_ASCII : QR_BLOCKS;
        o->colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    }
    if (!qr_add(&image, ctl->conf.app_url, id, o))
        ctl_say(stderr, "curt: --%s", o->fault);
    else if (output != NULL && strcmp(output, "-") != 0)
        status = write_file(output, &image);
    else /* main() says why not */
        status = fwrite(image.data, image.len, 1, stdout) == 1 ? 0 : EX_IOERR;
    buf_free(&image);
    return status;
}

int ctl_qr(struct ctl *ctl, const char *argument)
{
    struct link link;
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    link_init(&link);
    const enum result r = store_get(ctl->store, id, STORE_WHOLE, 0, &link);
    int status = CTL_NO;
    if (r != RESULT_OK)
        status = ctl_link_failed(ctl, id, r);
    else if (link_expired(link.ttl, clock_now()))
        ctl_say(stderr, "curt: %s: this link has expired", id);
    else
        status = ctl_qr_draw(ctl, id);
    link_free(&link);
    return status;
}
