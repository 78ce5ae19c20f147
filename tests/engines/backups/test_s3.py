"""Each refusal of an S3 service, in words that somebody can act on, and without a secret."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path

import pytest

from engines.backups.bucket import read
from engines.backups.places import BucketFolder, Service
from engines.errors import RestoreError
from tests.servers.s3 import ACCESS, REGION, SECRET, Answer, S3Server, answering, refusal


def refused(service: Service, bucket: str = "some-bucket") -> RestoreError:
    with pytest.raises(RestoreError) as caught:
        read(BucketFolder(service, bucket, "nightly/"))
    error = caught.value
    told = "".join(traceback.format_exception(error)) + error.message + error.hint
    assert SECRET not in told
    assert ACCESS not in told
    assert "canary" not in told
    assert error.message.endswith("Nothing was changed.")
    assert error.hint
    return error


def test_a_bucket_that_is_not_there_is_named(s3: S3Server) -> None:
    error = refused(Service(s3.endpoint, REGION), "no-such-bucket")
    assert (
        error.message == "s3://no-such-bucket/nightly/ can't be listed: there is no such bucket. Nothing was changed."
    )
    assert "s3_endpoint" in error.hint


def test_a_name_that_is_no_buckets_is_refused(s3: S3Server) -> None:
    assert "no bucket's or object's name" in refused(Service(s3.endpoint, REGION), "no bucket").message


def test_without_credentials_it_says_where_they_are_looked_for(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    error = refused(Service(s3.endpoint, REGION))
    assert "there are no credentials" in error.message
    assert "~/.aws/credentials" in error.hint


def test_half_a_pair_of_keys_is_none(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = {ACCESS}\n")
    assert "there are no credentials" in refused(Service(s3.endpoint, REGION)).message


def test_an_unknown_profile_is_named(s3: S3Server) -> None:
    error = refused(Service(s3.endpoint, REGION, "nobody"))
    assert "no such profile" in error.message
    assert "s3_profile" in error.hint


def test_a_profile_gives_the_credentials(s3: S3Server, tmp_path: Path) -> None:
    name = s3.bucket("with-a-profile")
    keys = f"aws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(f"[ops]\n{keys}")
    (tmp_path / "config").write_text(f"[profile ops]\nregion = {REGION}\n")
    assert read(BucketFolder(Service(s3.endpoint, "", "ops"), name, "")).backups == ()


def test_a_configuration_that_is_no_text_is_named(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[broken\n")
    assert "~/.aws/config" in refused(Service(s3.endpoint, REGION)).message


def test_a_service_that_is_not_there_cannot_be_reached(s3: S3Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "can't be reached" in refused(Service(f"http://127.0.0.1:{port}", REGION)).message


def test_an_address_that_is_none_is_refused(s3: S3Server) -> None:
    assert "s3_endpoint" in refused(Service("http://", REGION)).hint


def test_a_service_without_https_is_not_trusted(s3: S3Server) -> None:
    error = refused(Service(s3.endpoint.replace("http:", "https:"), REGION))
    assert "certificate" in error.message or "can't be reached" in error.message


def test_what_is_no_s3_service_is_refused(s3: S3Server) -> None:
    with answering(lambda _path: Answer(body="<html>It works!")) as endpoint:
        assert "no S3 service" in refused(Service(endpoint, REGION)).message


REFUSALS = {
    "access is denied (AccessDenied)": refusal(403, "AccessDenied"),
    "does not take these credentials (SignatureDoesNotMatch)": refusal(403, "SignatureDoesNotMatch"),
    "does not take these credentials (InvalidAccessKeyId)": refusal(403, "InvalidAccessKeyId"),
    "does not take these credentials (ExpiredToken)": refusal(400, "ExpiredToken"),
    "clock is too far": refusal(403, "RequestTimeTooSkewed"),
    "in another region, eu-central-1 (PermanentRedirect)": Answer(
        301,
        refusal(301, "PermanentRedirect").body,
        (("x-amz-bucket-region", "eu-central-1"),),
    ),
    "in another region, eu-central-1 (AuthorizationHeaderMalformed)": refusal(
        400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>"
    ),
    "its region is not known": refusal(400, "IllegalLocationConstraintException", "<Region>\u202e</Region>"),
    "the service only redirects": Answer(301, "", (("Location", "https://s3.example/"),)),
    "busy or failing (SlowDown)": refusal(503, "SlowDown"),
    "encryption key can't be used (KMS.DisabledException)": refusal(400, "KMS.DisabledException"),
    "refuses it (EntirelyNew)": refusal(418, "EntirelyNew"),
    "refuses it (unknown)": refusal(418, "\u202e not a code"),
}


@pytest.mark.parametrize("told", REFUSALS, ids=[name.rpartition("(")[2].rstrip(")") for name in REFUSALS])
def test_what_the_service_refuses_is_said_in_our_words(
    s3: S3Server, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with answering(lambda _path: REFUSALS[told]) as endpoint:
        assert told in refused(Service(endpoint, REGION)).message


def test_where_versions_are_kept_from_these_credentials_the_plain_listing_is_taken(s3: S3Server) -> None:
    listing = (
        "<ListBucketResult><Contents><Key>nightly/a.sql</Key><LastModified>2026-11-22T03:00:00.000Z</LastModified>"
        '<ETag>"1"</ETag><Size>1</Size></Contents></ListBucketResult>'
    )
    for closed in ("?versioning", "?versions"):

        def answer(path: str, closed: str = closed) -> Answer:
            if closed in path:
                return refusal(403, "AccessDenied")
            if "?versioning" in path:
                status = "<Status>Enabled</Status>"
                return Answer(body=f"<VersioningConfiguration>{status}</VersioningConfiguration>")
            return Answer(body=listing)

        with answering(answer) as endpoint:
            (backup,) = read(BucketFolder(Service(endpoint, REGION), "some-bucket", "nightly/")).backups
        assert backup.name == "a.sql"
