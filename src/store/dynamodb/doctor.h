/* What `curt doctor` looks at where the links are in a DynamoDB table. */
#ifndef CURT_DYNAMODB_DOCTOR_H
#define CURT_DYNAMODB_DOCTOR_H

#include "aws/client.h"
#include "base/report.h"
#include "config/conf.h"

/* Adds lines on the region, the credentials (their source and end, never
 * themselves), each endpoint (name, connection, certificate), this host's
 * clock against the endpoint's, and the table. Changes nothing. Takes at most
 * STORE_TIMEOUT for a call, and some seconds for an endpoint. */
void dynamodb_doctor(struct aws_client *aws, const struct conf *conf,
                     struct report *report);

#endif
