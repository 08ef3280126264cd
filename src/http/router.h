/* Which handler answers a request. */
#ifndef CURT_ROUTER_H
#define CURT_ROUTER_H

#include "http/handlers.h"

/* Whether the handler of a request reads its body. Only the head is looked at;
 * the others can be answered before their body has come. */
bool router_takes_body(const struct http_request *req);

/* Answers the request: res is complete afterwards, whatever came. */
void router_dispatch(struct app *app, const struct http_request *req,
                     struct http_response *res);

#endif
