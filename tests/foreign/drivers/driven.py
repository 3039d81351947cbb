"""What the drivers in Python share: a line of JSON says what to call, a line of JSON says what came of it."""

import base64
import json
import sys


def read():
    """Go through the calls that are asked for."""
    for line in sys.stdin:
        yield json.loads(line, object_hook=_decode)


def write(answer):
    sys.__stdout__.write(json.dumps(answer, default=_encode) + "\n")
    sys.__stdout__.flush()


def refused(error):
    """Return what a user of botocore sees of an error: its code, its words, and the class to catch."""
    told = error.response["Error"]
    return {"error": {"code": told["Code"], "message": told["Message"], "kind": type(error).__name__}}


def _decode(found):
    return base64.b64decode(found["base64"]) if set(found) == {"base64"} else found


def _encode(value):
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    return str(value)
