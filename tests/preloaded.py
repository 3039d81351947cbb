"""What programs of tests import, and what botocore reads for each, done once: see `tests.forked`."""

import asyncio  # noqa: F401
import gc

import boto3  # noqa: F401
import sqlalchemy.orm  # noqa: F401
import uvicorn.lifespan.off
import uvicorn.loops.asyncio  # noqa: F401
from botocore.loaders import create_loader

import megaflow.cli.main
import megaflow.cli.move
import megaflow.cli.publish
import megaflow.cli.queues
import megaflow.cli.run
import megaflow.consumer.threads.runner
import megaflow.dispatch.check
import megaflow.local.file.store
import megaflow.local.server
import megaflow.runtime.supervisor
import megaflow.sql
import megaflow.wire.client  # noqa: F401
from tests.botocore_files import read_once

read_once()
_loader = create_loader()
for _name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
    _loader.load_data(_name)
for _service in ("sqs", "sns"):
    for _kind in ("service-2", "endpoint-rule-set-1"):
        _loader.load_service_model(_service, _kind)
# No collection of garbage in a program goes through all of this.
gc.freeze()
