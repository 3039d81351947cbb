"""The least that speaks SQS: `http.client`, SigV4, `json`; no retries, no checks, no pool. One for each thread."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

KEY_ID, SECRET, REGION = "testing", "testing", "us-east-1"


class BareClient:
    """Takes and gives what boto3 does, for the calls of a benchmark."""

    def __init__(self, endpoint_url: str) -> None:
        self.host = urlsplit(endpoint_url).netloc
        self.connection = HTTPConnection(self.host)
        self.day, self.key = "", b""

    def receive_message(self, **parameters: Any) -> Any:
        return self.call("ReceiveMessage", parameters)

    def delete_message_batch(self, **parameters: Any) -> Any:
        return self.call("DeleteMessageBatch", parameters)

    def send_message_batch(self, **parameters: Any) -> Any:
        return self.call("SendMessageBatch", parameters)

    def call(self, operation: str, parameters: dict[str, Any]) -> Any:
        body = json.dumps(parameters).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "Host": self.host,
            "X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            "X-Amz-Target": f"AmazonSQS.{operation}",
        }
        headers["Authorization"] = self.sign(headers, body)
        self.connection.request("POST", "/", body, headers)
        return json.loads(self.connection.getresponse().read())

    def sign(self, headers: dict[str, str], body: bytes) -> str:
        moment, signed = headers["X-Amz-Date"], "content-type;host;x-amz-date;x-amz-target"
        if self.day != moment[:8]:
            self.day, self.key = moment[:8], f"AWS4{SECRET}".encode()
            for part in (self.day, REGION, "sqs", "aws4_request"):
                self.key = hmac.digest(self.key, part.encode(), "sha256")
        lines = "\n".join(f"{name.lower()}:{value}" for name, value in headers.items())
        canonical = f"POST\n/\n\n{lines}\n\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{self.day}/{REGION}/sqs/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.key, text.encode(), "sha256").hex()
        return f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={signed}, Signature={signature}"
