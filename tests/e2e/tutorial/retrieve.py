# The tutorial's function url-shortener-retrieve, repaired just enough to run:
#
#  1. The table was another one than that of url-shortener-create.
#  2. "try:" and "except:" were lost.
#  3. "ddb.update_item(" was lost, and so was the bracket that closes it.
#  4. The braces that close the two answers were lost.
#
# The rest is the tutorial's, the odd things too: an unknown link is a redirect
# to nowhere. The tests give it an endpoint by way of boto3.resource.
import os
import json
import boto3

ddb = boto3.resource('dynamodb', region_name = 'eu-west-1').Table('url-shortener-table')

def lambda_handler(event, context):
    short_id = event.get('short_id')
    try:
        item = ddb.get_item(Key={'short_id': short_id})
        long_url = item.get('Item').get('long_url')
        # increase the hit number on the db entry of the url (analytics?)
        ddb.update_item(
            Key={'short_id': short_id},
            UpdateExpression='set hits = hits + :val',
            ExpressionAttributeValues={':val': 1}
        )
    except:
        return {
            'statusCode': 301,
            'location': ''
        }
    return {
        "statusCode": 301,
        "location": long_url
    }
