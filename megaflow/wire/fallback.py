"""Fallback to boto3: the reasons why a client's calls have to go through boto3 itself.

- There is a proxy.
- Somebody has registered an event handler on the client (``client.meta.events``), as a mock such as moto does.
- A tracer wraps boto3, or what boto3 itself calls: ddtrace, the X-Ray SDK, elastic-apm.
- OpenTelemetry's instrumentation wraps them, and its SDK is not set up, or there is ``telemetry=False``.
- A method of the client, its HTTP session, urllib3 or ``http.client`` was replaced.
- The client is not boto3's.
- The endpoint URL is more than scheme, host and port, or boto3 calls another host than the client says.
- Requests are signed in another way than SigV4.
- The retry mode is ``adaptive``, or there is no read timeout.
- The installed botocore does not speak JSON with SQS, or is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from megaflow.wire.identity import (
    describe_callable,
    find_replaced,
    find_shadowed,
    is_instrumentation,
    is_original,
)

HOT_METHODS: Final = {
    "receive_message": "ReceiveMessage",
    "send_message": "SendMessage",
    "send_message_batch": "SendMessageBatch",
    "delete_message": "DeleteMessage",
    "delete_message_batch": "DeleteMessageBatch",
    "change_message_visibility": "ChangeMessageVisibility",
    "change_message_visibility_batch": "ChangeMessageVisibilityBatch",
}
"""The methods that do not go through boto3, and their operations."""

_EVENTS: Final = (
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "before-send",
    "before-parse",
    "response-received",
    "needs-retry",
    "after-call",
    "after-call-error",
)
"""What botocore emits in the course of a call."""

_RETRY_MODES: Final = ("standard", "legacy")


def why_aside(client: object, *, stands_in: bool = False) -> str:
    """Return why calls of *client* have to go through boto3, or ``""`` where they need not.

    *stands_in* is whether something stands in for OpenTelemetry's instrumentation, which then is no reason.
    """
    try:
        return next(_reasons(client, is_instrumentation if stands_in else _is_nothing), "")
    except Exception as error:  # noqa: BLE001 - most of what is looked at here is botocore's own business
        return f"this version of botocore is not known ({type(error).__name__}: {error})"


def watch(client: Any) -> Callable[[], bool]:
    """Return what tells whether all is still as it was: asked before each call, it looks where tracers wrap boto3.

    That is at an event handler that was added or taken away, at what was set on the client or its HTTP session, and at
    the methods through which each call goes.
    """
    from http.client import HTTPConnection

    from botocore.client import BaseClient
    from botocore.endpoint import Endpoint
    from botocore.httpsession import URLLib3Session
    from urllib3.connectionpool import HTTPConnectionPool

    emitter, own, sessions_own = client.meta.events._emitter, vars(client), vars(client._endpoint.http_session)
    # A proxy in a class gives another object each time it is asked for; what the class holds stays the same.
    calls, endpoints, sessions = vars(BaseClient), vars(Endpoint), vars(URLLib3Session)
    pools, connections = vars(HTTPConnectionPool), vars(HTTPConnection)
    lookup, size = emitter._lookup_cache, len(own) + len(sessions_own)
    call, request, send = calls["_make_api_call"], endpoints["make_request"], sessions["send"]
    urlopen, get = pools["urlopen"], connections["getresponse"]

    def is_unchanged() -> bool:
        return (
            emitter._lookup_cache is lookup
            and calls["_make_api_call"] is call
            and endpoints["make_request"] is request
            and sessions["send"] is send
            and pools["urlopen"] is urlopen
            and connections["getresponse"] is get
            and len(own) + len(sessions_own) == size
        )

    return is_unchanged


def _is_nothing(value: object) -> bool:
    return False


def _reasons(client: Any, is_replaced: Callable[[Any], bool]) -> Iterator[str]:
    from botocore.client import BaseClient

    # Not isinstance: it believes what a proxy says.
    if not issubclass(type(client), BaseClient) or client.meta.service_model.service_name != "sqs":
        yield f"the client is a {type(client).__module__}.{type(client).__qualname__}, not boto3's"
        return
    yield from _reasons_of_settings(client)
    yield from _reasons_of_code(client, is_replaced)
    yield from _reasons_of_handlers(client)


def _reasons_of_code(client: Any, is_replaced: Callable[[Any], bool]) -> Iterator[str]:
    """Give what others have put in the way of a call, but for what *is_replaced* by something of the caller's."""
    from botocore.client import BaseClient

    names = frozenset({*HOT_METHODS, *vars(BaseClient), "__getattribute__"})
    for find, part in ((find_shadowed, client), (find_replaced, type(client))):
        for name, by in find(part, names):
            if is_replaced(by):
                continue
            yield f"the client's {name} was replaced by {describe_callable(by)}"
    for part in _parts(client):
        yield from _reasons_of_class(type(part), is_replaced, *find_shadowed(part))
    for kind in _classes(client):
        yield from _reasons_of_class(kind, is_replaced)


def _reasons_of_class(kind: type, is_replaced: Callable[[Any], bool], *shadowed: tuple[str, Any]) -> Iterator[str]:
    if not is_original(kind):
        yield f"the client works with a {kind.__qualname__} of its own"
    for name, by in (*shadowed, *find_replaced(kind)):
        if not is_replaced(by):
            yield f"{kind.__qualname__}.{name} was replaced by {describe_callable(by)}"


def _parts(client: Any) -> Iterator[Any]:
    """Give the objects that a call of *client* goes through."""
    endpoint, serializer = client._endpoint, client._serializer
    yield from (client.meta.events, client.meta.events._emitter, endpoint, endpoint.http_session)
    yield from (endpoint.http_session._manager, client._request_signer, client._response_parser, serializer)
    if hasattr(serializer, "_param_validator"):
        yield from (serializer._param_validator, serializer._serializer)


def _classes(client: Any) -> Iterator[type]:
    """Give the classes of what is made for each call."""
    from botocore.auth import AUTH_TYPE_MAPS
    from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSRequestPreparer

    pools = client._endpoint.http_session._manager.pool_classes_by_scheme
    pool = pools[urlsplit(client.meta.endpoint_url).scheme]
    yield from (AWSRequest, AWSRequestPreparer, AWSPreparedRequest, AUTH_TYPE_MAPS["v4"], pool, pool.ConnectionCls)


def _reasons_of_handlers(client: Any) -> Iterator[str]:
    """Give each event handler of *client* that is not botocore's own."""
    handlers = client.meta.events._emitter._handlers
    for operation in HOT_METHODS.values():
        for event in _EVENTS:
            for handler in handlers.prefix_search(f"{event}.sqs.{operation}"):
                if not is_original(handler):
                    yield f"an event handler is registered for {event}: {describe_callable(handler)}"


def _reasons_of_settings(client: Any) -> Iterator[str]:
    config, signer, session = client.meta.config, client._request_signer, client._endpoint.http_session
    endpoint, protocol = urlsplit(client.meta.endpoint_url), client.meta.service_model.metadata["protocol"]
    if protocol != "json":
        yield f"this botocore speaks {protocol!r} with SQS, not JSON"
    if session._proxy_config.proxy_url_for(client.meta.endpoint_url) is not None:
        yield "there is a proxy"
    if (
        endpoint.scheme not in ("http", "https")
        or endpoint.path not in ("", "/")
        or endpoint.query
        or endpoint.username
    ):
        yield "the endpoint URL is more than scheme, host and port"
    if (config.use_fips_endpoint or config.use_dualstack_endpoint) and _find_endpoint(
        client
    ) != client.meta.endpoint_url:
        yield f"boto3 calls {_find_endpoint(client)}"
    if signer.signature_version != "v4" or signer._auth_token is not None or _prefers(config):
        yield f"requests are signed in a way of their own: {signer.signature_version}"
    if not isinstance(config.read_timeout, int | float) or config.read_timeout <= 0:
        yield f"the read timeout is {config.read_timeout!r}"
    if (config.retries or {}).get("mode", "standard") not in _RETRY_MODES:
        yield f"the retry mode is {config.retries['mode']!r}"


def _find_endpoint(client: Any) -> str:
    """Return where boto3 calls: in isolated partitions that is not the FIPS host that the client says of itself."""
    model, region = client.meta.service_model.operation_model("ReceiveMessage"), client.meta.region_name
    rules: Any = client._ruleset_resolver
    found = rules.construct_endpoint(operation_model=model, call_args={}, request_context={"client_region": region})
    return str(found.url)


def _prefers(config: Any) -> bool:
    """Tell whether a way to sign is preferred; what a botocore of before 1.38 does not know it cannot prefer."""
    return bool(getattr(config, "auth_scheme_preference", None))
