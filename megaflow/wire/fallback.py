"""Fallback to boto3: the reasons why a client's calls have to go through boto3 itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final
from urllib.parse import urlsplit

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


def why_aside(client: object) -> str:
    """Return why calls of *client* have to go through boto3, or ``""`` where they need not."""
    try:
        return next(_reasons(client), "")
    except Exception as error:  # noqa: BLE001 - most of what is looked at here is botocore's own business
        return f"this version of botocore is not known ({type(error).__name__}: {error})"


def handlers_version(client: Any) -> object:
    """Return something that is another object once an event handler was added to *client*, or taken away."""
    return client.meta.events._emitter._lookup_cache


def why_handlers(client: Any) -> str:
    """Return which event handler of *client* is not botocore's own, or ``""``."""
    for operation in HOT_METHODS.values():
        for event in _EVENTS:
            for handler in client.meta.events._emitter._handlers.prefix_search(f"{event}.sqs.{operation}"):
                if not _is_botocores(handler):
                    return f"an event handler is registered for {event}: {_name(handler)}"
    return ""


def _reasons(client: Any) -> Iterator[str]:
    from botocore.client import BaseClient

    if not isinstance(client, BaseClient) or client.meta.service_model.service_name != "sqs":
        yield f"the client is a {type(client).__module__}.{type(client).__qualname__}, not boto3's"
        return
    yield from _reasons_of_code(client)
    yield from _reasons_of_settings(client)
    if reason := why_handlers(client):
        yield reason


def _reasons_of_code(client: Any) -> Iterator[str]:
    for name in ("_make_api_call", *HOT_METHODS):
        method = getattr(client, name)
        if not (isinstance(method, MethodType) and _is_botocores(method)):
            yield f"the client's {name} was replaced"


def _reasons_of_settings(client: Any) -> Iterator[str]:
    from botocore.httpsession import URLLib3Session

    config, signer, session = client.meta.config, client._request_signer, client._endpoint.http_session
    endpoint, protocol = urlsplit(client.meta.endpoint_url), client.meta.service_model.metadata["protocol"]
    if protocol != "json":
        yield f"this botocore speaks {protocol!r} with SQS, not JSON"
    if type(session) is not URLLib3Session:
        yield f"the client sends with a {type(session).__qualname__} of its own"
    elif session._proxy_config.proxy_url_for(client.meta.endpoint_url) is not None:
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


def _is_botocores(function: Callable[..., Any]) -> bool:
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        # An instance or a class of botocore's, that can be called.
        return type(function).__module__.startswith("botocore.") or _is_botocores_name(function)
    return _is_botocores_name(function) and str(function.__globals__.get("__name__", "")).startswith("botocore.")


def _is_botocores_name(function: Callable[..., Any]) -> bool:
    module = str(getattr(function, "__module__", ""))
    return module.startswith(("botocore.", "boto3.")) and module != "botocore.stub"


def _name(handler: Callable[..., Any]) -> str:
    return f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', repr(handler))}"
