"""Sockets to the endpoint of a boto3 client, with its timeouts and certificates, and its words for what fails."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from megaflow.wire.connections import ConnectError
from megaflow.wire.http import NoAnswerError


def connector(client: Any) -> Callable[[], socket.socket]:
    """Return a function that connects to where *client* sends its requests; it raises `OSError`."""
    endpoint, session = urlsplit(client.meta.endpoint_url), client._endpoint.http_session
    secure = endpoint.scheme == "https"
    address = (endpoint.hostname or "", endpoint.port or (443 if secure else 80))
    timeout, options = client.meta.config.connect_timeout, list(session._socket_options)
    secured = cache(lambda: _trust(session))

    def connect() -> socket.socket:
        sock = socket.create_connection(address, timeout=timeout)
        try:
            for option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *options):
                sock.setsockopt(*option)
            return secured().wrap_socket(sock, server_hostname=address[0]) if secure else sock
        except BaseException:
            sock.close()
            raise

    return connect


def translate_error(error: Exception, endpoint_url: str) -> Exception:
    """Return what botocore raises where a connection fails like this."""
    from botocore import exceptions

    cause = error.__cause__ if isinstance(error, ConnectError) else error
    translated: Exception
    if isinstance(cause, ssl.SSLError):
        translated = exceptions.SSLError(endpoint_url=endpoint_url, error=cause)
    elif isinstance(error, ConnectError):
        kind = exceptions.ConnectTimeoutError if isinstance(cause, TimeoutError) else exceptions.EndpointConnectionError
        translated = kind(endpoint_url=endpoint_url, error=cause)
    elif isinstance(error, TimeoutError):
        translated = exceptions.ReadTimeoutError(endpoint_url=endpoint_url, error=error)
    elif isinstance(error, NoAnswerError | OSError):
        translated = exceptions.ConnectionClosedError(endpoint_url=endpoint_url, request=None, error=error)
    else:
        translated = exceptions.HTTPClientError(error=error)
    translated.__cause__ = error
    return translated


def _trust(session: Any) -> ssl.SSLContext:
    """Return a context that trusts whom boto3 trusts: the host's name is checked, unless ``verify`` is False."""
    from botocore.httpsession import get_cert_path

    context: ssl.SSLContext = session._get_ssl_context()
    context.check_hostname = False
    if session._verify:
        context.load_verify_locations(cafile=get_cert_path(session._verify))
        context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    else:
        context.verify_mode = ssl.CERT_NONE
    if session._cert_file:
        context.load_cert_chain(session._cert_file, session._key_file)
    return context
