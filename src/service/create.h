/* Creating a link: what POST /create and `curt create` have in common. */
#ifndef CURT_CREATE_H
#define CURT_CREATE_H

#include <stddef.h>

#include "base/result.h"
#include "config/conf.h"
#include "link/link.h"
#include "store/store.h"

/* How often an id is drawn before the id space counts as full. */
#define CREATE_DRAWS 8

/* Creates a link to long_url (len bytes, as the client sent them) and stores it
 * by deadline, as in store.h. *out is an initialised link that the caller frees
 * in any case. On RESULT_OK it is what was stored. Otherwise:
 * RESULT_INVALID: the URL is refused, and *reason completes "long_url ...".
 * RESULT_UNAVAILABLE also: the clock of this host cannot be right, so the times
 * of the link would be wrong.
 * RESULT_CONFLICT: CREATE_DRAWS ids in a row were taken; logged.
 * Anything else: the store failed, and store_error() has the reason. */
enum result create_link(const struct conf *conf, struct store *store,
                        const char *long_url, size_t len,
                        const struct link_client *client, int64_t deadline,
                        struct link *out, const char **reason) MUST_CHECK;

#endif
