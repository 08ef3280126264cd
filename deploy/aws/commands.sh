#!/bin/sh
# The table, the policies and a role for EC2 hosts, as template.yaml makes them,
# by the AWS command line. See README.md beside this file.
#
# usage: AWS_REGION=eu-west-1 TABLE=url-shortener-table sh commands.sh

set -eu
export AWS_PAGER=
cd -- "$(dirname -- "$0")"

: "${AWS_REGION:?}"
table=${TABLE:-url-shortener-table}
account=$(aws sts get-caller-identity --query Account --output text)
caller=$(aws sts get-caller-identity --query Arn --output text)
partition=${caller#arn:}
partition=${partition%%:*} # aws, aws-cn or aws-us-gov

# ---- The table: `curt table create --deletion-protection
# --point-in-time-recovery` does the same.
aws dynamodb create-table --region "$AWS_REGION" --table-name "$table" \
    --key-schema AttributeName=short_id,KeyType=HASH \
    --attribute-definitions AttributeName=short_id,AttributeType=S \
    --billing-mode PAY_PER_REQUEST \
    --deletion-protection-enabled
aws dynamodb wait table-exists --region "$AWS_REGION" --table-name "$table"
aws dynamodb update-time-to-live --region "$AWS_REGION" \
    --table-name "$table" \
    --time-to-live-specification Enabled=true,AttributeName=ttl
aws dynamodb update-continuous-backups --region "$AWS_REGION" \
    --table-name "$table" \
    --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true

# ---- The policies.
for role in redirect create operate; do
    document=$(sed "s/REGION/$AWS_REGION/; s/ACCOUNT/$account/
        s/TABLE/$table/; s/arn:aws:/arn:$partition:/" "iam-$role.json")
    aws iam create-policy --policy-name "curt-$role" \
        --policy-document "$document"
done

# ---- A role for hosts that redirect and create, with an instance profile.
aws iam create-role --role-name curt-host --assume-role-policy-document '{
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole"
    }]
}'
for role in redirect create; do
    aws iam attach-role-policy --role-name curt-host \
        --policy-arn "arn:$partition:iam::$account:policy/curt-$role"
done
aws iam put-role-policy --role-name curt-host --policy-name imdsv2-only \
    --policy-document '{
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {"NumericLessThan": {"ec2:RoleDelivery": "2.0"}}
    }]
}'
aws iam create-instance-profile --instance-profile-name curt-host
aws iam add-role-to-instance-profile --instance-profile-name curt-host \
    --role-name curt-host
