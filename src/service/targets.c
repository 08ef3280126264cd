#include "service/targets.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "link/host.h"
#include "link/url.h"

/* Whether the list, if configured, has the host; *r is RESULT_UNAVAILABLE where
 * it cannot be used. */
static bool is_in_list(const struct conf *conf, struct hostlist *lists,
                       enum hostlist_kind kind, const char *host,
                       enum result *r)
{
    const enum result found = hostlist_find(&lists[kind], conf, kind, host);
    if (found == RESULT_UNAVAILABLE)
        *r = found;
    return found == RESULT_OK;
}

/* Why a link must not lead to the host, or NULL. web: for http and https, where
 * the host is a name in DNS or an address; that of another scheme may be
 * anything. */
static const char *find_host_fault(const struct conf *conf,
                                   struct hostlist *lists, const char *host,
                                   bool web, enum result *r)
{
    if (conf->private_targets == CONF_REFUSE &&
        (host_is_private(host) || (web && host_is_single_label(host))))
        return "leads to a private or local host; use one that is reachable "
               "from the internet";
    if (conf->shortener_targets == CONF_REFUSE && host_is_shortener(host))
        return "leads to another URL shortener; use the URL that it leads to";
    if (conf->lookalike_hosts == CONF_REFUSE && host_is_lookalike(host))
        return "leads to a host whose name can be mistaken for another one";
    if (conf->blocked_hosts != NULL &&
        is_in_list(conf, lists, HOSTLIST_BLOCKED, host, r))
        return "leads to a blocked host";
    if (conf->allowed_hosts != NULL &&
        !is_in_list(conf, lists, HOSTLIST_ALLOWED, host, r))
        return "leads to a host that is not one of the allowed hosts";
    return NULL;
}

enum result targets_accept(const struct conf *conf, struct hostlist *lists,
                           struct store *store, const char *in, size_t len,
                           struct buf *url, struct link *l, const char **reason)
{
    enum result r =
        url_normalise(conf->url_schemes, in, len, &conf->app, url, reason);
    if (r != RESULT_OK)
        return r;
    const size_t scheme = strcspn(url->data, ":");
    size_t host_len;
    const char *at = url_host(url->data, &host_len);
    struct buf host;
    buf_init(&host, URL_MAX);
    /* The host of another scheme stays as it is in the URL. */
    if (host_len > 0 && host_normalise(at, host_len, &host) != NULL) {
        buf_reset(&host);
        buf_add(&host, at, host_len);
    }
    if (conf->url_schemes != NULL &&
        !url_list_has(conf->url_schemes, url->data, scheme))
        *reason = "has a scheme that is not allowed here";
    else if (host_len > 0)
        *reason =
            find_host_fault(conf, lists, host.data,
                            url_list_has("http https", url->data, scheme), &r);
    if (r == RESULT_UNAVAILABLE)
        r = store_fail(store, r,
                       "BLOCKED_HOSTS or ALLOWED_HOSTS cannot be used; the log "
                       "and `curt doctor` show why");
    else if (*reason != NULL)
        r = RESULT_INVALID;
    else if (conf->lookalike_hosts == CONF_WARN &&
             host_is_lookalike(host.data)) {
        l->rules.warning = true;
        free(l->reason);
        l->reason = mem_printf("The name of this host can be mistaken for "
                               "another one. Its real name is %s.",
                               host.data);
    }
    buf_free(&host);
    return r;
}
