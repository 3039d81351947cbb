"""The doctor where the embedded account has no such service, refuses nothing, and is never out of reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow import App
from megaflow.provision.doctor.check import Finding
from megaflow.provision.doctor.checks import CHECKS
from megaflow.provision.doctor.reading import Other, Told
from megaflow.provision.needs import needs_of
from tests.provision import test_doctor
from tests.provision.conftest import Failing, Place, refusal
from tests.provision.doctors import examine, make_app, names


@pytest.fixture
def app(embedded: Place) -> App:
    """An app that was provisioned."""
    made = make_app(embedded)
    embedded.apply(needs_of(made))
    return made


def ask(app: App, service: Other, client: Any) -> list[Finding]:
    return examine(app, Told(asks=frozenset([service]), others={service: client}))


# Refusals


class Answering:
    """A client of which some calls are answered by functions of what the real one answers."""

    def __init__(self, client: Any, **changes: Callable[[Any], Any]) -> None:
        self._client = client
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        change = self._changes.get(name, lambda answer: answer)
        return lambda **parameters: change(getattr(self._client, name)(**parameters))


def with_clients(place: Place, app: App, **clients: Any) -> App:
    """Return an app like *app*, with other clients."""
    made = make_app(Place(clients.get("sqs", place.sqs), clients.get("sns", place.sns)))
    assert made.queue == app.queue
    return made


@pytest.mark.parametrize(
    ("service", "operation", "what", "action"),
    [
        ("sqs", "GetQueueUrl", "the queue orders", "sqs:GetQueueUrl"),
        ("sqs", "GetQueueAttributes", "the queue orders", "sqs:GetQueueAttributes"),
        ("sns", "ListSubscriptions", "the subscriptions", "sns:ListSubscriptions"),
        ("sns", "GetSubscriptionAttributes", "the subscription to shop", "sns:GetSubscriptionAttributes"),
        ("sns", "GetTopicAttributes", "the topic shop", "sns:GetTopicAttributes"),
        ("sns", "ListTopics", "the topic shop", "sns:ListTopics"),
    ],
)
def test_what_is_refused_is_a_finding_and_the_rest_goes_on(
    embedded: Place, app: App, service: str, operation: str, what: str, action: str
) -> None:
    method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)[1:]
    errors = [refusal("AccessDenied", operation, "you may not")] * 2
    client = Failing(getattr(embedded, service), **{method: list(errors)})

    found = examine(with_clients(embedded, app, **{service: client}))

    assert set(names(found)) == {"not-looked-at"}
    assert found[0].symptom == (
        what,
        f"could not be looked at: access is refused: let the role do {action} (you may not)",
    )


def test_the_dead_letter_queue_alone_may_be_refused(embedded: Place, app: App) -> None:
    class Refusing(Failing):
        def get_queue_url(self, **parameters: Any) -> Any:
            if parameters["QueueName"] == "orders-dead":
                raise refusal("AccessDenied", "GetQueueUrl")
            return self._client.get_queue_url(**parameters)

    embedded.set("orders", VisibilityTimeout="5")

    found = examine(with_clients(embedded, app, sqs=Refusing(embedded.sqs)))

    assert names(found) == ["not-looked-at", "short-visibility"]
    assert found[0].symptom.name == "the dead-letter queue orders-dead"


def test_an_error_of_any_kind_is_a_finding(embedded: Place, app: App) -> None:
    sns = Failing(embedded.sns, list_subscriptions=[RuntimeError("a bug of the client")])

    (finding,) = examine(with_clients(embedded, app, sns=sns))

    assert finding.symptom.said == "could not be looked at: a bug of the client"


def test_a_policy_that_is_none_is_a_finding_of_its_own(embedded: Place, app: App) -> None:
    def break_it(answer: Any) -> Any:
        answer["Attributes"] |= {"RedrivePolicy": "[]"}
        return answer

    sqs = Answering(embedded.sqs, get_queue_attributes=break_it)

    found = examine(with_clients(embedded, app, sqs=sqs))

    assert "AWS shows something that is no JSON object" in found[0].symptom.said


# The way to AWS


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "ExpiredToken", "SignatureDoesNotMatch"])
def test_credentials_that_are_not_taken_end_it(embedded: Place, app: App, code: str) -> None:
    sqs = Failing(embedded.sqs, get_queue_url=[refusal(code, "GetQueueUrl")])

    found = examine(with_clients(embedded, app, sqs=sqs))

    assert names(found) == ["no-way-to-aws"]
    assert found[0].symptom.name == "the queue orders"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queue": "orders", "endpoint_url": "http://127.0.0.1:1", "max_attempts": 1}, "127.0.0.1:1"),
        (
            {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "region_name": "us-east-2"},
            "region_name='us-east-2' was given",
        ),
        ({"queue_url": "orders"}, "is not the URL or the ARN of a queue"),
        ({"topic_arn": "shop"}, "is not the ARN of a topic"),
        ({"queue": "orders", "profile_name": "nobody"}, "profile_name='nobody'"),
    ],
)
def test_what_leads_nowhere_ends_it(options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", options.get("region_name", "eu-west-1"))

    found = [each for each in examine(App(**options)) if each.check.name != "no-handlers"]

    assert names(found) == ["no-way-to-aws"]
    assert said in found[0].symptom.said


def test_a_dead_letter_queue_that_cannot_be_reached_does_not_end_it(embedded: Place, app: App) -> None:
    here: dict[str, Any] = {"endpoint_url": embedded.sqs.meta.endpoint_url, "region_name": "eu-west-1"}
    here |= {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    elsewhere = "https://sqs.us-east-1.amazonaws.com/123456789012/lost"
    embedded.set("orders", VisibilityTimeout="5", RedrivePolicy="")

    found = examine(make_app(Place(None, None), dead_letter_queue_url=elsewhere, **here))

    assert names(found) == ["no-way-to-aws", "short-visibility", "no-redrive-policy"]
    assert found[0].symptom.name == "the dead-letter queue lost"
    assert "region_name='eu-west-1' was given" in found[0].symptom.said


def test_no_credentials_and_no_region_end_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, embedded: Place) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    here = embedded.sqs.meta.endpoint_url

    (no_credentials,) = (each for each in examine(App(topic="shop", endpoint_url=here)))
    (no_region,) = (each for each in examine(App(topic="shop")))

    assert no_credentials.check.name == no_region.check.name == "no-way-to-aws"
    assert "credentials" in no_credentials.symptom.said
    assert "no AWS region for sns" in no_region.symptom.said


def test_the_clock_is_compared_with_that_of_aws(app: App) -> None:
    def look(seconds: float) -> list[Finding]:
        return examine(app, Told(clock=lambda: time.time() + seconds))

    assert names(look(20)) == []
    assert names(look(60)) == ["clock-off"]
    assert names(look(-400)) == ["clock-refused"]
    assert "behind AWS's" in look(-400)[0].symptom.said


def test_the_clock_is_found_where_aws_refuses_because_of_it(embedded: Place, app: App) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    refused = ClientError(
        {
            "Error": {"Code": "SignatureDoesNotMatch", "Message": "Signature not yet current"},
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        },
        "GetQueueUrl",
    )

    found = examine(with_clients(embedded, app, sqs=Failing(embedded.sqs, get_queue_url=[refused])))

    assert names(found) == ["no-way-to-aws", "clock-refused"]
    assert "ahead of AWS's" in found[1].symptom.said


def test_an_embedded_client_says_nothing_of_the_time(embedded: Place, app: App) -> None:
    def without_headers(answer: Any) -> Any:
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    sqs = Answering(embedded.sqs, get_queue_attributes=without_headers)

    assert examine(with_clients(embedded, app, sqs=sqs)) == []


# What the embedded account never shows


def test_many_messages_in_flight_are_found(embedded: Place, app: App) -> None:
    def fill(count: int) -> Callable[[Any], Any]:
        def change(answer: Any) -> Any:
            if "orders-dead" not in answer["Attributes"]["QueueArn"]:
                answer["Attributes"] |= {"ApproximateNumberOfMessagesNotVisible": str(count)}
            return answer

        return change

    def look(count: int) -> list[str]:
        return names(
            examine(with_clients(embedded, app, sqs=Answering(embedded.sqs, get_queue_attributes=fill(count))))
        )

    assert (look(95_999), look(96_000)) == ([], ["many-in-flight"])


def test_a_subscription_that_waits_is_found(embedded: Place, app: App) -> None:
    def wait(answer: Any) -> Any:
        return {
            "Subscriptions": [each | {"SubscriptionArn": "PendingConfirmation"} for each in answer["Subscriptions"]]
        }

    sns = Answering(embedded.sns, list_subscriptions=wait)

    assert names(examine(with_clients(embedded, app, sns=sns))) == ["not-confirmed"]


def test_subscriptions_come_in_pages(embedded: Place, app: App) -> None:
    class Paging(Failing):
        def list_subscriptions(self, **parameters: Any) -> Any:
            if not parameters:
                return {"Subscriptions": [], "NextToken": "more"}
            assert parameters == {"NextToken": "more"}
            return self._client.list_subscriptions()

    assert examine(with_clients(embedded, app, sns=Paging(embedded.sns))) == []


# KMS


class Kms:
    """KMS with one key."""

    def __init__(self, *, state: str = "Enabled", manager: str = "CUSTOMER", policy: str = "", tried: str = "") -> None:
        self._shown = {"KeyId": "1234", "KeyState": state, "KeyManager": manager}
        self._policy = policy or LETS_SNS
        self._tried = tried or "DryRunOperationException"

    def describe_key(self, *, KeyId: str) -> Any:  # noqa: N803 - as boto3 has it
        assert KeyId == "alias/mine"
        return {"KeyMetadata": self._shown}

    def get_key_policy(self, *, KeyId: str, PolicyName: str) -> Any:  # noqa: N803
        assert (KeyId, PolicyName) == ("1234", "default")
        return {"Policy": self._policy}

    def generate_data_key(self, *, KeyId: str, KeySpec: str, DryRun: bool) -> Any:  # noqa: N803
        assert DryRun
        raise refusal(self._tried, "GenerateDataKey")


LETS_SNS = """{"Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"},
    {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
     "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*"}
]}"""


@pytest.fixture
def encrypted(embedded: Place) -> App:
    """An app that was provisioned, whose queue and topic have a key of its own."""
    made = make_app(embedded, encryption="alias/mine")
    embedded.apply(needs_of(made))
    embedded.sns.set_topic_attributes(
        TopicArn=embedded.topic("shop"), AttributeName="KmsMasterKeyId", AttributeValue="alias/mine"
    )
    return made


@pytest.mark.parametrize(
    ("kms", "expected"),
    [
        (Kms(), []),
        (Kms(state="PendingDeletion"), ["key-unusable"]),
        (Kms(policy=LETS_SNS.replace(', "kms:Decrypt"', "")), ["key-closed-to-topics"]),
        (Kms(policy=LETS_SNS.replace("sns.", "sqs.")), ["key-closed-to-topics"]),
        (Kms(tried="AccessDeniedException"), ["key-refused"]),
        (Kms(manager="AWS", tried="AccessDeniedException"), []),
    ],
)
def test_kms_is_asked_about_keys(encrypted: App, kms: Kms, expected: list[str]) -> None:
    assert names(ask(encrypted, "kms", kms)) == expected


def test_where_kms_is_not_asked_or_refuses_that_is_said(encrypted: App) -> None:
    refused = Failing(Kms(), describe_key=[refusal("AccessDeniedException", "DescribeKey")])

    assert names(examine(encrypted)) == ["key-not-known"]
    (finding,) = ask(encrypted, "kms", refused)
    assert finding.check.name == "not-looked-at"
    assert "let the role do kms:DescribeKey" in finding.symptom.said


def test_a_service_that_is_out_of_reach_ends_nothing(embedded: Place, app: App) -> None:
    embedded.set("orders", VisibilityTimeout="5")

    found = examine(app, Told(asks=frozenset(["lambda"]), others={"lambda": Failing(None)}))

    assert names(found) == ["not-looked-at", "short-visibility"]


# Lambda


class Lambda:
    """Lambda with one function, which gets the messages of the queue."""

    def __init__(self, timeout: int = 60, **mapping: Any) -> None:
        self._timeout = timeout
        self._mapping = {"FunctionArn": "arn:f", "FunctionResponseTypes": ["ReportBatchItemFailures"], **mapping}

    def list_event_source_mappings(self, *, EventSourceArn: str, Marker: str = "") -> Any:  # noqa: N803
        assert EventSourceArn.endswith(":orders")
        return {"EventSourceMappings": [self._mapping]} if Marker else {"EventSourceMappings": [], "NextMarker": "on"}

    def get_function_configuration(self, *, FunctionName: str) -> Any:  # noqa: N803
        assert FunctionName == "arn:f"
        return {"FunctionName": "ship", "Timeout": self._timeout}


@pytest.mark.parametrize(
    ("awslambda", "expected"),
    [
        (Lambda(), []),
        (Lambda(61), ["visibility-below-six-lambdas"]),
        (Lambda(MaximumBatchingWindowInSeconds=1), ["visibility-below-six-lambdas"]),
        (Lambda(361), ["visibility-below-lambda"]),
        (Lambda(45), ["handler-slower-than-lambda"]),
        (Lambda(FunctionResponseTypes=[]), ["lambda-reports-nothing"]),
        (Lambda(FunctionResponseTypes=None), ["lambda-reports-nothing"]),
        (Lambda(State="Disabled"), ["lambda-off"]),
    ],
)
def test_lambda_is_asked_who_gets_the_messages(
    embedded: Place, app: App, awslambda: Lambda, expected: list[str]
) -> None:
    embedded.set("orders", VisibilityTimeout="360")

    assert names(ask(app, "lambda", awslambda)) == expected


# CloudWatch


class CloudWatch:
    """CloudWatch with the ages of the oldest message that it has seen."""

    def __init__(self, *ages: float) -> None:
        now = datetime.now(UTC)
        self._points = [
            {"Timestamp": now - timedelta(minutes=5 * place), "Maximum": age} for place, age in enumerate(ages)
        ]

    def get_metric_statistics(self, **asked: Any) -> Any:
        assert asked["Dimensions"] == [{"Name": "QueueName", "Value": "orders-dead"}]
        assert (asked["Namespace"], asked["MetricName"]) == ("AWS/SQS", "ApproximateAgeOfOldestMessage")
        return {"Datapoints": self._points}


def test_cloudwatch_tells_how_old_the_oldest_dead_letter_is(embedded: Place, app: App) -> None:
    assert ask(app, "cloudwatch", CloudWatch(1.0)) == []
    embedded.sqs.send_message(QueueUrl=embedded.url("orders-dead"), MessageBody="{}")

    (known,) = ask(app, "cloudwatch", CloudWatch(90_000.0, 89_700.0))
    (unknown,) = ask(app, "cloudwatch", CloudWatch())

    assert known.symptom.said == "it holds about 1 message, the oldest about 90,000 s old"
    assert "of an age that SQS does not tell" in unknown.symptom.said


def test_every_check_is_seen_to_find_something() -> None:
    """Each name stands in what some test of both modules expects."""
    texts = [Path(module).read_text() for module in (__file__, test_doctor.__file__)]

    assert [check.name for check in CHECKS if not any(f'"{check.name}"' in text for text in texts)] == []
