"""A webhook: a topic posts to a web server, which confirms, verifies signatures, and fails once."""

import json
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread
from urllib.request import urlopen

import boto3
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509 import load_pem_x509_certificate

from megaflow.local.server import Server

failed, delivered = Event(), Event()


def verify(fields: dict[str, str]) -> None:
    """Raise where the signature is wrong. On AWS, look first whether the URL of the certificate is one of SNS."""
    with urlopen(fields["SigningCertURL"]) as page:
        key = load_pem_x509_certificate(page.read()).public_key()
    assert isinstance(key, RSAPublicKey)
    names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    key.verify(b64decode(fields["Signature"]), signed.encode(), PKCS1v15(), SHA1())


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        verify(fields)
        first = fields["Type"] == "Notification" and not failed.is_set()
        self.send_response(500 if first else 200)
        self.end_headers()
        if fields["Type"] == "SubscriptionConfirmation":
            print("confirmed by a visit:", urlopen(fields["SubscribeURL"]).status)
        else:
            print(f"{fields['Message']}: {'not now' if first else 'done'}")
            (failed if first else delivered).set()

    def log_message(self, *_: object) -> None:
        pass


hook = HTTPServer(("127.0.0.1", 0), Hook)
Thread(target=hook.serve_forever, daemon=True).start()

with Server() as server:
    sns = boto3.client("sns", "us-east-1", endpoint_url=server.url, aws_access_key_id="x", aws_secret_access_key="x")
    topic = sns.create_topic(Name="orders")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{hook.server_port}/")
    while sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1":
        delivered.wait(0.01)
    sns.publish(TopicArn=topic, Message="order 7")
    while not delivered.wait(0.01):
        server.account.advance(1)  # a retry comes 20 seconds later, which need not pass
