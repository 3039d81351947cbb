"""Signatures of envelopes, verified as a subscriber does: with the certificate that the server hands out."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate

from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.clock import Clock
from megaflow.local.endpoints import signing
from megaflow.local.endpoints.signing import Signer
from megaflow.local.server import Server
from tests.conformance.conftest import clients
from tests.endpoints import endpoint
from tests.waiting import PATIENCE

QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:orders"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Server, Any, Any]]:
    with Server() as server, clients(server.url) as (sqs, sns):
        yield server, sqs, sns


@pytest.fixture
def place(served: tuple[Server, Any, Any]) -> Iterator[tuple[Server, Any, Any]]:
    yield served
    served[0].account.reset()


def signed_text(fields: dict[str, Any]) -> str:
    """What AWS documents to be signed."""
    if fields["Type"] == "Notification":
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    return "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)


def verify(fields: dict[str, Any]) -> None:
    """Raise where the signature is not that of the certificate."""
    with urlopen(fields["SigningCertURL"]) as answer:
        certificate = load_pem_x509_certificate(answer.read())
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    kind = {"1": SHA1, "2": SHA256}[fields["SignatureVersion"]]
    key.verify(b64decode(fields["Signature"]), signed_text(fields).encode(), PKCS1v15(), kind())


def receive(sqs: Any, url: str) -> dict[str, Any]:
    (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
    assert message["MD5OfBody"] == md5(message["Body"].encode()).hexdigest()
    opened: dict[str, Any] = json.loads(message["Body"])
    return opened


def subscribed(sqs: Any, sns: Any, **attributes: str) -> tuple[str, str]:
    """Make a queue that has subscribed to a topic; return its URL, and the topic's ARN."""
    suffix = ".fifo" if "FifoTopic" in attributes else ""
    kind = {"FifoQueue": "true"} if suffix else {}
    url = sqs.create_queue(QueueName=f"orders{suffix}", Attributes=kind)["QueueUrl"]
    topic = sns.create_topic(Name=f"news{suffix}", Attributes=attributes)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE_ARN}{suffix}")
    return url, topic


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{"Subject": "hello"}, {}])
def test_the_envelope_in_a_queue_is_signed(
    place: tuple[Server, Any, Any], version: str, subject: dict[str, str]
) -> None:
    _, sqs, sns = place
    url, topic = subscribed(sqs, sns, SignatureVersion=version)

    sns.publish(TopicArn=topic, Message='größer\n"quoted" \\u0041', **subject)

    fields = receive(sqs, url)
    assert fields["SignatureVersion"] == version
    verify(fields)
    with pytest.raises(InvalidSignature):
        verify({**fields, "Message": "forged"})


@pytest.mark.parametrize("version", ["1", "2"])
def test_what_is_posted_is_signed(place: tuple[Server, Any, Any], version: str) -> None:
    _, _, sns = place
    topic = sns.create_topic(Name="news", Attributes={"SignatureVersion": version})["TopicArn"]
    with endpoint() as made:
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
        made.confirm()
        sns.publish(TopicArn=topic, Message="hello", Subject="s")
        (sent,) = made.wait_for_kind("Notification")
        urlopen(sent.fields["UnsubscribeURL"]).close()
        made.wait_for_kind("UnsubscribeConfirmation")

    assert len(made.sent) == 3
    for each in made.sent:
        assert each.fields["SignatureVersion"] == version
        verify(each.fields)


def test_what_is_received_again_or_by_others_has_the_same_signature(place: tuple[Server, Any, Any]) -> None:
    server, sqs, sns = place
    url, topic = subscribed(sqs, sns)
    other = sqs.create_queue(QueueName="others")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=QUEUE_ARN.replace("orders", "others"))
    sns.publish(TopicArn=topic, Message="hello")

    first, again, others = receive(sqs, url), receive(sqs, url), receive(sqs, other)

    assert first == again == receive(SqsClient(server.account), url)
    assert first["Signature"] == others["Signature"]


def test_a_dead_letter_is_signed_as_it_was(place: tuple[Server, Any, Any]) -> None:
    _, sqs, sns = place
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    url, topic = subscribed(sqs, sns)
    policy = {"deadLetterTargetArn": QUEUE_ARN.replace("orders", "dead"), "maxReceiveCount": 1}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    sns.publish(TopicArn=topic, Message="hello")

    fields = receive(sqs, url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)

    assert receive(sqs, dead) == fields
    verify(fields)


def test_nothing_but_what_a_topic_wrote_is_signed(place: tuple[Server, Any, Any]) -> None:
    server, sqs, sns = place
    url, topic = subscribed(sqs, sns)
    sns.publish(TopicArn=topic, Message="hello")
    (peeked,) = server.account.peek("orders")
    sqs.purge_queue(QueueUrl=url)

    sent = sqs.send_message(QueueUrl=url, MessageBody=peeked.body)

    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert message["Body"] == peeked.body
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]


def test_nobody_sees_what_is_left_to_sign(place: tuple[Server, Any, Any]) -> None:
    _, sqs, sns = place
    url, topic = subscribed(sqs, sns)
    sns.publish(TopicArn=topic, Message="hello")

    (message,) = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])[
        "Messages"
    ]

    assert "MessageAttributes" not in message
    assert sorted(message["Attributes"]) == [
        *("ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"),
    ]


def test_the_envelope_of_a_fifo_topic_has_no_signature(place: tuple[Server, Any, Any]) -> None:
    _, sqs, sns = place
    url, topic = subscribed(sqs, sns, FifoTopic="true")

    sns.publish(TopicArn=topic, Message="hello", MessageGroupId="g", MessageDeduplicationId="1")

    assert not receive(sqs, url).keys() & {"Signature", "SignatureVersion", "SigningCertURL"}


@pytest.mark.parametrize("attributes", [{}, {"FifoTopic": "true"}])
def test_links_lead_to_where_the_receiver_reaches_the_server(
    attributes: dict[str, str], place: tuple[Server, Any, Any]
) -> None:
    server, sqs, sns = place
    url, topic = subscribed(sqs, sns, **attributes)
    fifo = {"MessageGroupId": "g", "MessageDeduplicationId": "1"} if attributes else {}
    sns.publish(TopicArn=topic, Message="hello", **fifo)
    elsewhere = server.url.replace("127.0.0.1", "localhost")

    with clients(elsewhere) as (sqs_elsewhere, _):
        fields = receive(sqs_elsewhere, url.replace("127.0.0.1", "localhost"))

    assert fields["UnsubscribeURL"].startswith(f"{elsewhere}/?Action=Unsubscribe")


def test_a_certificate_of_another_name_is_not_there(place: tuple[Server, Any, Any]) -> None:
    with pytest.raises(HTTPError) as error:
        urlopen(f"{place[0].url}{signing.CERTIFICATES}{'0' * 32}.pem")

    with error.value as answer:
        assert answer.code == 404


def test_the_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.sns.pem"

    first, second = Signer(path), Signer(path)

    assert first.certificate == second.certificate
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert Signer(tmp_path / "other.pem").name != first.name


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_key_that_is_damaged_is_made_anew(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)

    made = Signer(path).certificate

    assert Signer(path).certificate == made
    assert "others take their place" in caplog.text


def test_no_key_is_made_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"

    with Server(key_file=path) as server, clients(server.url) as (sqs, sns):
        url, topic = subscribed(sqs, sns)
        sns.publish(TopicArn=topic, Message="hello")
        before = path.exists()
        receive(sqs, url)

    assert (before, path.exists()) == (False, True)


def test_a_server_that_signs_nothing_does_not_load_what_signs() -> None:
    program = (
        "import sys; from megaflow.local.server import Server\n"
        "with Server(): print([name for name in sys.modules if name.startswith('cryptography')])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert done.stdout == "[]\n"


def test_without_the_package_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.local.server.can_sign", lambda: False)

    with Server() as server, clients(server.url) as (sqs, sns):
        url, topic = subscribed(sqs, sns)
        sns.publish(TopicArn=topic, Message="hello")
        fields = receive(sqs, url)
        with pytest.raises(HTTPError) as error:
            urlopen(f"{server.url}{signing.CERTIFICATES}{'0' * 32}.pem")
        error.value.close()

    assert fields["Signature"] == "EXAMPLE"
    assert fields["SigningCertURL"].startswith("https://sns.us-east-1.amazonaws.com/")
    assert fields["UnsubscribeURL"].startswith(server.url)


def test_an_account_without_a_server_signs_nothing() -> None:
    account = Account(clock=Clock())
    sqs = SqsClient(account)
    url, topic = subscribed(sqs, SnsClient(account))

    SnsClient(account).publish(TopicArn=topic, Message="hello")

    assert receive(sqs, url)["Signature"] == "EXAMPLE"
