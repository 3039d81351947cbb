"""The AWS CLI, called by the lines on its stdin: as by its command, without a process for each call."""

import io
import json
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache

from awscli.clidriver import create_clidriver
from driven import read, write

RENAMED = {"Endpoint": "NotificationEndpoint"}
"""Parameters that the CLI calls otherwise, as they would be taken for an option of its own."""


def main():
    os.environ.update(AWS_SECRET_ACCESS_KEY="any", AWS_MAX_ATTEMPTS="1", NO_PROXY="*")
    for asked in read():
        said, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complained):
            code = run(driver_for(asked["key"]), arguments(asked))
        if code:
            write({"error": told(complained.getvalue())})
        else:
            write({"answer": json.loads(said.getvalue() or "{}", object_hook=shown)})


@cache
def driver_for(key):
    os.environ["AWS_ACCESS_KEY_ID"] = key  # which is read with the first command, and kept
    return create_clidriver()


def run(driver, command):
    try:
        return driver.main(command)
    except SystemExit as error:
        return error.code


def arguments(asked):
    command = ["--endpoint-url", asked["url"], "--region", asked["region"], "--output", "json", "--no-paginate"]
    command += [asked["service"], hyphenated(asked["operation"])]
    for name, value in asked["parameters"].items():
        command += option(f"--{hyphenated(RENAMED.get(name, name))}", value)
    return command


def option(name, value):
    if isinstance(value, bool):
        return [name if value else name.replace("--", "--no-", 1)]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [name, *value]
    return [name, json.dumps(value, default=bytes.decode) if isinstance(value, (dict, list)) else str(value)]


def hyphenated(name):
    return re.sub("(?<!^)(?=[A-Z])", "-", name).lower()


def shown(found):
    """Take bytes for bytes: the CLI is given them as text, and shows them in base64."""
    return {name: {"base64": each} if name == "BinaryValue" else each for name, each in found.items()}


def told(complained):
    """Take apart what the CLI says of an error, which is all that its users have."""
    found = re.search(r"An error occurred \(([^)]*)\) when calling the \w+ operation[^:]*: (.*)", complained, re.DOTALL)
    code, message = found.groups() if found else ("", complained)
    return {"code": code, "message": message.strip(), "kind": ""}


sys.exit(main())
