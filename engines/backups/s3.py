"""Speaks to an S3 service, and says what its refusals mean. What is asked of it is others' work.

boto3 takes a third of a second to import, so that happens when the first bucket is opened. Messages are our own:
what a service says may quote the request, and with it what was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from engines.backups.places import Service
from engines.errors import RestoreError
from engines.text import drawable

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = 20  # seconds without a byte; also the longest that a stop is waited for on a dead line

# What the service answers, and what that means here. Source: Amazon S3 API reference, "Error responses"; an answer
# without a body (HEAD) has its status for a code.
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403", "UnauthorizedAccess"})
_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "InvalidClientTokenId",
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
        "NotSignedUp",
        "InvalidSecurity",
        "401",
    }
)
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REGION = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    }
)
NO_UPLOAD = "NoSuchUpload"
_GONE = frozenset({"NoSuchKey", "NoSuchVersion", NO_UPLOAD, "404", "NotFound"})
_BUSY = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "429",
        "500",
        "502",
        "503",
        "504",
    }
)
_UNKNOWN_CALL = frozenset({"NotImplemented", "MethodNotAllowed", "405", "501", "InvalidRequest", "InvalidArgument"})
CHANGED = frozenset({"PreconditionFailed", "412"})

_REGION_NAME = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d")
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_NO_CREDENTIALS = (
    "Log in (aws sso login, aws configure), run where a role is attached, or name a profile: s3_profile. "
    "AWS_ACCESS_KEY_ID or ~/.aws/credentials is where they are looked for."
)


class S3(Protocol):
    """What is used of boto3's client, which is made at run time and has no type."""

    def head_object(self, **asked: object) -> Mapping[str, Any]: ...

    def get_object(self, **asked: object) -> Mapping[str, Any]: ...

    def put_object(self, **asked: object) -> Mapping[str, Any]: ...

    def delete_object(self, **asked: object) -> Mapping[str, Any]: ...

    def create_multipart_upload(self, **asked: object) -> Mapping[str, Any]: ...

    def upload_part(self, **asked: object) -> Mapping[str, Any]: ...

    def complete_multipart_upload(self, **asked: object) -> Mapping[str, Any]: ...

    def abort_multipart_upload(self, **asked: object) -> Mapping[str, Any]: ...

    def get_bucket_versioning(self, **asked: object) -> Mapping[str, Any]: ...

    def get_paginator(self, name: str) -> Pages: ...

    def close(self) -> None: ...


class Pages(Protocol):
    """A listing, page by page."""

    def paginate(self, **asked: object) -> Iterable[Mapping[str, Any]]: ...


@contextmanager
def connected(service: Service, *, connections: int = 10, attempts: int = 3) -> Iterator[S3]:
    """A client of `service`, usable from several threads. Raises RestoreError when it can't even be made.

    `attempts` is how often botocore itself tries, which can't be stopped while it waits.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    with asking("The S3 service can't be used"):
        core = botocore.session.Session(profile=service.profile or None)
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        # Else parts are sent with a trailer that services other than Amazon's may refuse; each has its MD5.
        core.set_config_variable("request_checksum_calculation", "when_required")
        session = boto3.Session(botocore_session=core, region_name=service.region or None)
        client: S3 = session.client(
            "s3",
            endpoint_url=service.endpoint or None,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=max(1, connections),
            ),
        )
    try:
        yield client
    finally:
        client.close()


def _moment(written: object) -> datetime:
    """A time in an answer. botocore's own parser takes half of the time that a long listing takes."""
    from botocore.utils import parse_timestamp

    if isinstance(written, str) and written.endswith("Z"):
        try:
            return datetime.fromisoformat(written)
        except ValueError:
            pass
    parsed: datetime = parse_timestamp(written)
    return parsed


@contextmanager
def asking(failed: str, needs: str = "") -> Iterator[None]:
    """Turns what boto3 raises into a RestoreError that begins with `failed`.

    `needs`: what has to be allowed, where that is more than reading.
    """
    try:
        yield
    except RestoreError:
        raise
    except Exception as error:
        if not of_the_service(error):
            raise
        what, hint = meaning(error)
        if needs and code_of(error) in _DENIED:
            hint = f"It takes {needs}. Look at the bucket's policy, and at s3_profile."
        raise RestoreError(f"{failed}: {what}. Nothing was changed.", hint) from None


def of_the_service(error: Exception) -> bool:
    """Is it from the line to the service, or from the service itself?"""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    # Redirected without being told where to, botocore asks again and again until Python stops it.
    kinds = (BotoCoreError, ClientError, ResponseParserError, HTTPError, OSError, RecursionError)
    return isinstance(error, kinds) or (isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"))


def code_of(error: Exception) -> str:
    """The service's own code for what it refused; empty where it did not answer."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return ""
    found = str(error.response.get("Error", {}).get("Code", ""))
    return found if _CODE.fullmatch(found) else "unknown"


def unanswered(refused: RestoreError) -> bool:
    """Is it what `asking` made of a service that could not be asked, rather than of its refusal?"""
    error = refused.__context__
    return isinstance(error, Exception) and of_the_service(error) and not code_of(error)


def passing(error: Exception) -> bool:
    """Is it worth trying again: a broken line, or a service that is busy?"""
    from botocore import exceptions as boto
    from urllib3.exceptions import HTTPError

    if code := code_of(error):
        return code in _BUSY
    if isinstance(error, (boto.SSLError, boto.ProxyConnectionError)):
        return False
    return isinstance(error, (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, HTTPError, OSError))


def denied(error: Exception) -> bool:
    """Does the service have this call, and not allow it, or not have it at all?"""
    return code_of(error) in _DENIED | _UNKNOWN_CALL


def gone(error: Exception) -> bool:
    """Is there no such object, or no such version of it?"""
    return code_of(error) in _GONE


def meaning(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    return _answered(error) if code_of(error) else _unanswered(error)


def _answered(error: Exception) -> tuple[str, str]:
    code = code_of(error)
    if code in _DENIED:
        return (
            f"access is denied ({code})",
            "It takes s3:ListBucket on the bucket and s3:GetObject on its objects (with versions: "
            "s3:ListBucketVersions, s3:GetObjectVersion). Look at the bucket's policy, and at s3_profile.",
        )
    if code in _CREDENTIALS:
        return (
            f"the service does not take these credentials ({code})",
            "They are wrong, revoked or expired. Log in again (aws sso login), or correct s3_profile.",
        )
    if code in _CLOCK:
        return "this machine's clock is too far from the service's", "Set the clock (chronyc makestep, ntpdate)."
    if code in _REGION:
        region = _region_in(error)
        told = f'Set s3_region = "{region}".' if region else "Set s3_region to the bucket's region."
        return f"the bucket is in another region{f', {region}' if region else ''} ({code})", told
    if code == "NoSuchBucket":
        return "there is no such bucket", "Is its name right? Is s3_endpoint the service that has it?"
    if code in _GONE:
        return f"it is not there, or not any more ({code})", "List the backups again."
    if code in CHANGED:
        return "it is no longer the object that was listed", "List the backups again, and choose anew."
    if code == "InvalidObjectState":
        return (
            "it is archived (Glacier) and can't be read now",
            "Have it restored first (aws s3api restore-object), which takes hours; or choose another one.",
        )
    if code.startswith("KMS."):
        return f"its encryption key can't be used ({code})", "The credentials need kms:Decrypt on the bucket's key."
    if code == "500":  # also what botocore makes of an answer that is no XML
        return "the service fails, or is no S3 service (500)", "Is s3_endpoint right? Then wait, and try again."
    if code in _BUSY:
        return f"the service is busy or failing ({code})", "Wait, and try again. What was fetched is kept."
    if code == "400":
        return (
            "the service refuses the request (400)",
            "Look at the region (s3_region), and whether a login has expired.",
        )
    return f"the service refuses it ({code})", "Is s3_endpoint an S3 service? Look at its own log."


def _region_in(error: Exception) -> str:
    """The bucket's region where the answer tells it."""
    response: Mapping[str, Any] = getattr(error, "response", {})
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = str(headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or "")
    return found if _REGION_NAME.fullmatch(found) else ""


def _unanswered(error: Exception) -> tuple[str, str]:
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    match error:
        case boto.ProfileNotFound():
            return "there is no such profile in ~/.aws/config", "Correct s3_profile, or write the profile."
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return "there are no credentials for it", _NO_CREDENTIALS
        case boto.TokenRetrievalError() | boto.SSOError() | boto.UnauthorizedSSOTokenError():
            return "the login has expired", "Log in again: aws sso login."
        case boto.ConfigNotFound() | boto.ConfigParseError():
            return "~/.aws/config or ~/.aws/credentials can't be read", "Correct the file; aws configure list shows it."
        case boto.NoRegionError() | boto.InvalidRegionError():
            return "its region is not known", "Set s3_region."
        case boto.ParamValidationError():
            return "its name is no bucket's or object's name", "Correct it in the configuration: s3://bucket/prefix."
        case boto.SSLError():
            return (
                "the service's certificate is not trusted",
                "Is s3_endpoint the right name? A company's own authority goes into AWS_CA_BUNDLE.",
            )
        case boto.ProxyConnectionError():
            return "the proxy can't be reached", "Look at HTTPS_PROXY and NO_PROXY."
        case boto.ConnectTimeoutError() | boto.EndpointConnectionError():
            return "the service can't be reached", "Look at s3_endpoint, the network, the firewall and the name server."
        case ResponseParserError() | ValueError():
            return "what answers is no S3 service, or s3_endpoint is no address", "Correct s3_endpoint."
        case RecursionError():
            return "the service only redirects", "Set s3_region; is s3_endpoint right, http:// or https://?"
        case _ if passing(error):
            return "the line to the service broke", "Try again. What was fetched is kept."
        case _:
            kind = drawable(type(error).__name__)
            return f"it could not be asked ({kind})", "Try the same with the aws command to see more: aws s3 ls."
