"""aiobotocore, called by the lines on its stdin."""

import asyncio
from contextlib import AsyncExitStack

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import xform_name
from botocore.exceptions import ClientError
from driven import read, refused, write


async def main():
    clients = {}
    async with AsyncExitStack() as stack:
        for asked in read():
            where = (asked["service"], asked["url"], asked["region"], asked["key"])
            if where not in clients:
                clients[where] = await stack.enter_async_context(connect(*where))
            call = getattr(clients[where], xform_name(asked["operation"]))
            try:
                write({"answer": await call(**asked["parameters"])})
            except ClientError as error:
                write(refused(error))


def connect(service, url, region, key):
    return get_session().create_client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="any",
        config=AioConfig(retries={"total_max_attempts": 1}, proxies={}),
    )


asyncio.run(main())
