"""Which region curt signs for, as DynamoDB sees it in the signature."""

import os

import pytest

from aws_cloud import KNOWN_ID
from aws_cloud import cloud, known_table  # fixtures
from aws_fakes import ROLE, SILENCE, text_answer
from harness import wait_until


def region_of(cloud, **settings):
    """The region in the signature of a call that goes well."""
    cloud.ok(**{"AWS_REGION": None, **cloud.issuer.issue(None).env(),
                **settings})
    return cloud.issuer.uses[-1][2]


def test_the_first_that_is_set_counts(cloud):
    imds = cloud.imds(region="sa-east-1")
    cloud.aws_file("config", "[default]\nregion = us-west-2\n"
                   "[profile far]\nregion = cn-north-1\n[profile none]\n")
    names = {"AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "eu-west-3",
             **imds.env()}
    assert region_of(cloud, **names) == "ap-south-1"
    del names["AWS_REGION"]
    assert region_of(cloud, **names) == "eu-west-3"
    assert region_of(cloud, AWS_REGION="", **names) == "eu-west-3"
    del names["AWS_DEFAULT_REGION"]
    assert region_of(cloud, **names) == "us-west-2"
    assert region_of(cloud, AWS_PROFILE="far", **names) == "cn-north-1"
    assert imds.requests == []
    # It has no region; so the instance is asked, which always has one.
    assert region_of(cloud, AWS_PROFILE="none", **names) == "sa-east-1"
    (cloud.home / ".aws" / "config").unlink()
    assert region_of(cloud, **names) == "sa-east-1"
    assert imds.paths() == 2 * ["PUT " + imds.TOKEN, "GET " + imds.REGION]


def test_region_and_keys_of_an_instance(cloud):
    imds = cloud.imds(region="us-gov-west-1")
    assert cloud.ok(AWS_REGION=None, **imds.env()).origin == "imds"
    assert cloud.issuer.uses[-1][2] == "us-gov-west-1"


def fails(cloud, **settings):
    return cloud.fails(os.EX_NOPERM, **{
        "AWS_REGION": None, **cloud.issuer.issue(None).env(), **settings})


def test_no_region(cloud):
    """What was looked at is told, in order."""
    cloud.aws_file("config", "[default]\noutput = json\n")
    error = fails(cloud)
    places = ["AWS_REGION", "AWS_DEFAULT_REGION",
              str(cloud.home / ".aws" / "config"),
              "AWS_EC2_METADATA_DISABLED"]
    found = [error.find(place) for place in places]
    assert -1 not in found and found == sorted(found), error
    imds = cloud.imds(region=None)
    assert "metadata" in fails(cloud, **imds.env())
    imds.trouble = SILENCE
    assert imds.endpoint in fails(cloud, **imds.env())


@pytest.mark.parametrize("region", ["EU-West-1", "eu west", "a.example.com",
                                    "eu-west-1/", "x" * 64])
def test_what_is_not_a_region(cloud, region):
    """It would end up in a host's name; the place that has it is named."""
    assert "AWS_REGION" in fails(cloud, AWS_REGION=region)
    if region == "EU-West-1":  # the others are judged alike
        assert "AWS_DEFAULT_REGION" in fails(cloud, AWS_DEFAULT_REGION=region)
        cloud.aws_file("config", "[profile p]\nregion = %s\n" % region)
        assert "profile p" in fails(cloud, AWS_PROFILE="p")
    imds = cloud.imds(region=region)
    assert "metadata" in fails(cloud, **imds.env())


def test_sts_signs_for_the_same_region(cloud):
    sts = cloud.sts()
    cloud.aws_file("credentials", "[base]\n"
                   + cloud.issuer.issue(None).profile())
    cloud.aws_file("config", "[default]\nrole_arn = %s\n"
                   "source_profile = base\n" % ROLE)
    cloud.ok(AWS_REGION="eu-central-1", **sts.env())
    cloud.ok(AWS_REGION=None, AWS_DEFAULT_REGION="us-east-2", **sts.env())
    cloud.aws_file("config", "[default]\nrole_arn = %s\nregion = us-west-1\n"
                   "source_profile = base\n" % ROLE)
    cloud.ok(AWS_REGION=None, **sts.env())
    assert sts.regions == ["eu-central-1", "us-east-2", "us-west-1"]
    assert [use[2] for use in cloud.issuer.uses] == sts.regions


def test_a_pool_asks_for_the_region_once(cloud):
    """Not for every request; and when the instance did not say it at first, it
    is asked again."""
    imds = cloud.imds(region="eu-south-1")
    imds.trouble = text_answer("", 503)
    with cloud.pool(workers=2, AWS_REGION=None, **imds.env()) as pool:
        pool.start()
        assert pool.request("GET", "/t/" + KNOWN_ID).status == 503
        failed = imds.count("GET " + imds.REGION)
        imds.trouble = None
        wait_until(lambda: {pool.request("GET", "/t/" + KNOWN_ID).status
                            for _ in range(10)} == {301},
                   "nothing but redirects", 20, 0.2)
        for _ in range(40):
            assert pool.request("GET", "/t/" + KNOWN_ID).status == 301
        # Two workers and the janitor.
        assert 1 <= imds.count("GET " + imds.REGION) - failed <= 3
    assert {use[2] for use in cloud.issuer.uses} == {"eu-south-1"}
