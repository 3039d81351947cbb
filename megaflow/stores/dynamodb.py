"""`DynamoDbStore`: progress and idempotency keys in a DynamoDB table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Unpack

from typing_extensions import override

from megaflow.checks import check_function, check_object, check_time, refused
from megaflow.errors import ConfigurationError
from megaflow.keywords import check_options
from megaflow.stores.store import CHECK, KEEP_FOR, Claim, ClosableStore, Ended, read_ended
from megaflow.transport.errors import is_refusal, read_code
from megaflow.transport.session import AwsOptions, AwsSettings, refuse_beside_client


class DynamoDbStore(ClosableStore):
    """Remembers in a DynamoDB table, for processes on any machine. `create_table` makes the table.

    The partition key is ``id``, a text. ``expires_at`` is the time to live. The role needs ``dynamodb:GetItem`` and
    ``dynamodb:UpdateItem``. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html

    The options in `AwsOptions` say how to reach AWS.

    Args:
        table_name: The table.
        client: Your own boto3 client for DynamoDB.
        keep_for: Seconds for which it remembers how a handler ended; 14 days by default, as long as SQS keeps messages.
        clock: Gives the time, in seconds since the epoch.
    """

    def __init__(
        self,
        table_name: str,
        *,
        client: Any = None,
        keep_for: float = KEEP_FOR,
        clock: Callable[[], float] = time.time,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(DynamoDbStore, aws, AwsOptions)
        if not (isinstance(table_name, str) and table_name):
            raise refused("table_name", table_name, "the name of a table")
        check_object("client", client, ("get_item", "update_item"), "boto3's client for DynamoDB, or leave it out")
        if client is not None:
            refuse_beside_client(aws)
        self._table_name = table_name
        self._given_client = client
        check_time("keep_for", keep_for)
        check_function("clock", clock, "() -> seconds", takes=0)
        self._keep_for = keep_for
        self._clock = clock
        self._aws = AwsSettings(**aws)

    @property
    def table_name(self) -> str:
        """The table."""
        return self._table_name

    def create_table(self) -> None:
        """Create the table, with on-demand billing, and wait until it is there."""
        self._client.create_table(
            TableName=self._table_name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._client.get_waiter("table_exists").wait(TableName=self._table_name)
        self._client.update_time_to_live(
            TableName=self._table_name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )

    def check(self) -> None:
        """See `Store`: make the calls that the other methods make, so that a role that allows less is noticed."""
        try:
            self.load(CHECK)
            self._update(
                f"work {CHECK}",
                "SET #expires = :now",
                {"#expires": "expires_at"},
                {":now": self._number(self._clock())},
            )
        except Exception as error:
            if not (problem := _explain(error)):
                raise
            raise ConfigurationError(f"DynamoDbStore({self._table_name!r}): {problem} ({error})") from error

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        answer = self._client.get_item(
            TableName=self._table_name, Key={"id": {"S": f"work {work}"}}, ConsistentRead=True
        )
        item = answer.get("Item", {})
        # DynamoDB takes its time to delete what has expired.
        if float(item.get("expires_at", {"N": "0"})["N"]) <= self._clock():
            return {}
        ended = {name[len("ended ") :]: json.loads(said["S"]) for name, said in item.items() if name[:6] == "ended "}
        return {handler: read_ended(work, *said) for handler, said in ended.items()}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        self._update(
            f"work {work}",
            "SET #handler = :ended, expires_at = :expires",
            {"#handler": f"ended {handler}"},
            {
                ":ended": {"S": json.dumps([ended.status.value, ended.error])},
                ":expires": self._number(self._clock() + self._keep_for),
            },
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        taken = self._update(
            f"key {key}",
            "SET #owner = :owner, expires_at = :expires",
            {"#owner": "owner"},
            {":owner": {"S": owner}, ":expires": self._number(now + seconds), ":now": self._number(now)},
            condition="attribute_not_exists(id) OR expires_at <= :now OR #owner = :owner",
        )
        if taken:
            return Claim.TAKEN
        answer = self._client.get_item(TableName=self._table_name, Key={"id": {"S": f"key {key}"}}, ConsistentRead=True)
        return Claim.DONE if "Item" in answer and "owner" not in answer["Item"] else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        self._update(
            f"key {key}",
            "SET expires_at = :expires",
            {"#owner": "owner"},
            {":owner": {"S": owner}, ":expires": self._number(self._clock() + seconds)},
            condition="#owner = :owner",
        )

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        self._update(
            f"key {key}",
            "SET expires_at = :expires REMOVE #owner",
            {"#owner": "owner"},
            {":expires": self._number(self._clock() + seconds)},
        )

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        # It expires, and is not deleted: a role needs the less.
        self.renew(key, owner, -1.0)

    @override
    def close(self) -> None:
        """See `Store`."""
        # A client that was given is closed by whoever gave it.
        made = self.__dict__.pop("_client", None) if self._given_client is None else None
        if made is not None:
            made.close()

    def _update(
        self, id_: str, update: str, names: dict[str, str], values: dict[str, Any], *, condition: str = ""
    ) -> bool:
        """Update an item, and tell whether the *condition* held."""
        conditional = {"ConditionExpression": condition} if condition else {}
        try:
            self._client.update_item(
                TableName=self._table_name,
                Key={"id": {"S": id_}},
                UpdateExpression=update,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                **conditional,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @cached_property
    def _client(self) -> Any:
        return self._given_client or self._aws.create_client("dynamodb", "")

    @staticmethod
    def _number(value: float) -> dict[str, str]:
        return {"N": f"{value:.3f}"}


def _explain(error: Exception) -> str:
    """Say what is wrong, and what to do; ``""`` where it may pass by itself."""
    code = read_code(error)
    if code == "ResourceNotFoundException":
        return "there is no such table in this region and account; create_table() makes it"
    if code == "ValidationException":
        return "its partition key is to be id, a text, with no sort key; create_table() makes one like that"
    if is_refusal(error):
        return (
            "access is refused; check the credentials, and that they allow dynamodb:GetItem and dynamodb:UpdateItem "
            "on the table"
        )
    return ""
