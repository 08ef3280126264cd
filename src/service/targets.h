/* What may be shortened: the rules that a long URL has to keep beside being a
 * valid URL. */
#ifndef CURT_TARGETS_H
#define CURT_TARGETS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"
#include "link/link.h"
#include "service/hostlist.h"
#include "store/store.h"

/* Appends the normalised form of a long URL (len bytes, as the client sent
 * them) to url, as url_normalise() does, and applies URL_SCHEMES,
 * BLOCKED_HOSTS, ALLOWED_HOSTS, PRIVATE_TARGETS, SHORTENER_TARGETS and
 * LOOKALIKE_HOSTS. lists: HOSTLIST_KINDS, opened when they are first needed.
 * RESULT_OK: l->rules.warning and l->reason are set for a host that needs a
 * warning. RESULT_INVALID: refused, and *reason, static text, completes
 * "long_url ...". RESULT_UNAVAILABLE: a list of hosts is configured but cannot
 * be used; store_error() is set. No name is looked up in DNS. */
enum result targets_accept(const struct conf *conf, struct hostlist *lists,
                           struct store *store, const char *in, size_t len,
                           struct buf *url, struct link *l,
                           const char **reason) MUST_CHECK;

#endif
