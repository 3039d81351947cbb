"""Checks of calls that are answered here and AWS would refuse: by their signature, and by what they name."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from megaflow.local.account import Account
from megaflow.local.accounts import ARNS, Signature
from megaflow.local.http.gate import show
from megaflow.local.operations.aws_checks import check_owner, lets_anybody
from megaflow.local.operations.operation import Ask

_OPEN: Final = frozenset({"ConfirmSubscription", "Unsubscribe"})
"""What everybody may who was sent a token or a link; nobody signs the links that SNS sends along."""

_LONGEST: Final = 300
"""Characters of what is named in a warning."""

_URL_OF_AWS: Final = re.compile(r"https?://(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com")


class AnsweredCall(NamedTuple):
    """A call that was answered."""

    service: str
    operation: str
    ask: Ask
    signature: Signature | None
    caller: Account
    """The account that it was signed for."""

    account: Account
    """The account that answered."""

    agent: bytes


def check_call(call: AnsweredCall) -> None:
    """Warn of a call that AWS would have refused."""
    if call.signature is None:
        _check_unsigned(call)
        return
    if call.signature.service != call.service or not call.signature.is_for_a_region:
        _warn_of_signature(call, call.signature)
    if call.account is not call.caller:
        _check_place(call, call.signature)
    url = call.ask.get("QueueUrl")
    if url is not None and ".amazonaws.com/" in url:
        _check_url(call, call.signature, url)
    if call.operation == "Subscribe":
        _check_subscriber(call)


def _check_unsigned(call: AnsweredCall) -> None:
    if call.operation not in _OPEN and not lets_anybody(call.account, call.operation, call.ask):
        call.account.warnings.add("unsigned call", call.service, text=lambda: _tell_of_unsigned(call))


def _tell_of_unsigned(call: AnsweredCall) -> str:
    agent = f" by {show(call.agent)}" if call.agent else ""
    return (
        f"{call.operation} was called{agent} without a signature, which AWS would refuse: give the client credentials; "
        "here any will do"
    )


def _warn_of_signature(call: AnsweredCall, signature: Signature) -> None:
    if signature.service != call.service:
        call.account.warnings.add(
            "wrong signature",
            signature.service,
            text=lambda: (
                f"{call.operation} was signed for the service {signature.service}, and AWS wants {call.service}"
            ),
        )
    if not signature.is_for_a_region:
        call.account.warnings.add(
            "wrong signature",
            signature.region,
            text=lambda: (
                f"{call.operation} was signed for {signature.region or 'no region'}, which is no region of AWS; here "
                f"{call.account.region} has answered"
            ),
        )


def _check_place(call: AnsweredCall, signature: Signature) -> None:
    """Look at a call for what is in another region, or another account's."""
    named = next((call.ask[name] for name in ARNS if name in call.ask), None)
    if call.account.region != call.caller.region:
        _warn_of_region(call, signature, str(named), call.account.region)
    elif call.operation not in _OPEN and "SubscriptionArn" not in call.ask:
        check_owner(call.account, call.caller, call.operation, call.ask)


def _check_url(call: AnsweredCall, signature: Signature, url: str) -> None:
    found = _URL_OF_AWS.match(url)
    region = found and (found[1] or found[2])
    if region and region != signature.region:
        _warn_of_region(call, signature, url, region)


def _warn_of_region(call: AnsweredCall, signature: Signature, named: str, region: str) -> None:
    named = named[:_LONGEST]
    call.account.warnings.add(
        "other region",
        named,
        signature.region,
        text=lambda: (
            f"{call.operation} of {named} was signed for {signature.region}, and AWS answers calls for what is in the "
            f"same region alone: make a client for {region}"
        ),
    )


def _check_subscriber(call: AnsweredCall) -> None:
    """Look at who subscribes a queue.

    https://docs.aws.amazon.com/sns/latest/dg/sns-send-message-to-sqs-cross-account.html
    """
    endpoint = str(call.ask.get("Endpoint", ""))
    service, _, number, *_ = [*endpoint.split(":")[2:], "", "", ""]
    if service == "sqs" and number != call.caller.account_id:
        call.account.warnings.add(
            "unconfirmed subscription",
            endpoint,
            call.ask["TopicArn"],
            text=lambda: (
                f"account {call.caller.account_id} has subscribed {endpoint}, a queue of another account. It gets "
                "messages at once; on AWS it gets none before somebody confirms by the token that SNS sends there"
            ),
        )
