"""The config: read, tried on a copy of the account, and carried out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.declared.applying import carry_out
from megaflow.local.declared.declarations import Declarations, Place, wrong
from megaflow.local.declared.document import read_document
from megaflow.local.declared.files import read_file
from megaflow.local.declared.template import is_template, read_template
from megaflow.local.declared.values import check_size
from megaflow.local.refused import Refused
from megaflow.logs import get_logger

log = get_logger(__name__)

_NOT_IN_A_NAME: Final = re.compile("[^A-Za-z0-9-]+")


def declare(
    account: Account, config: Mapping[str, Any] | Path | str, *, parameters: Mapping[str, str] | None = None
) -> None:
    """Make the queues, topics and subscriptions that *config* declares, and change those that are there otherwise.

    What it does not name stays as it is; nothing is deleted. `Account.reset` makes them again.

    Args:
        account: The account.
        config: A dict with ``queues`` and ``topics``, a CloudFormation template, or a file with one of the two in TOML,
            JSON or YAML.
        parameters: Values for the parameters of a template, in place of their defaults.

    Raises:
        ConfigurationError: Something is wrong; then nothing is made.

    Example:
        >>> from megaflow.local import Account, declare
        >>> declare(Account(), {"queues": {"orders": {"subscribe": ["shop"]}}, "topics": {"shop": {}}})
    """
    path = None if isinstance(config, Mapping) else Path(config)
    source = "config" if path is None else str(path)
    with account.lock:
        try:
            document = config if isinstance(config, Mapping) else read_file(Path(config))
            check_size(document)
            declarations = _read(account, document, path, parameters or {})
            carry_out(_copy(account), declarations)
        except RecursionError as error:
            raise ConfigurationError(f"{source}: it is nested too deeply, or within itself") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"{source}: {error}") from error
        if declarations.passed_by:
            log.warning("%s: nothing is made of %s", source, ", ".join(declarations.passed_by))
        _make(account, declarations)
        account.declared = partial(carry_out, account, declarations)


def _make(account: Account, declarations: Declarations) -> None:
    try:
        carry_out(account, declarations)
    except Refused as refused:
        raise ConfigurationError(f"what is declared cannot be made: {refused.message}") from refused


def _read(
    account: Account, document: Mapping[str, Any], path: Path | None, parameters: Mapping[str, str]
) -> Declarations:
    if is_template(document):
        declarations = read_template(document, account, _name_stack(path), parameters)
    elif parameters:
        raise ConfigurationError(f"it has no parameters, such as {next(iter(parameters))}: only a template does")
    else:
        declarations = read_document(document, account.arn)
    _check_distinct((queue.name, queue.place) for queue in declarations.queues)
    _check_distinct((topic.name, topic.place) for topic in declarations.topics)
    _check_distinct(((each.topic_arn, each.endpoint), each.place) for each in declarations.subscriptions)
    return declarations


def _check_distinct(declared: Iterable[tuple[object, Place]]) -> None:
    """Refuse what is declared twice: one of the two would be lost."""
    places: dict[object, Place] = {}
    for key, place in declared:
        if key in places:
            raise wrong(place.path, f"{places[key].path} declares it, too: leave one of the two away")
        places[key] = place


def _name_stack(path: Path | None) -> str:
    """Return the name of the stack, which is that of the file up to its first dot."""
    return _NOT_IN_A_NAME.sub("-", path.name.partition(".")[0] if path else "").strip("-") or "local"


def _copy(account: Account) -> Account:
    """Return an account with the same queues, topics and subscriptions, without their messages."""
    copy = account.sibling(account.region, account.account_id)
    for hosted in account.queues.values():
        copy.host(hosted.name, hosted.queue.settings).tags = dict(hosted.tags)
    for topic in account.topics.values():
        copied = copy.host_topic(topic.arn, topic.attributes)
        copied.tags, copied.subscriptions = dict(topic.tags), dict(topic.subscriptions)
    copy.deleted_at.update(account.deleted_at)
    copy.warnings = account.warnings
    return copy
