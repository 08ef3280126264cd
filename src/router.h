/* Which handler answers a request. */
#ifndef CURT_ROUTER_H
#define CURT_ROUTER_H

#include "handlers.h"

/* Answers the request: res is complete afterwards, whatever came. */
void router_dispatch(struct app *app, const struct http_request *req,
                     struct http_response *res);

#endif
