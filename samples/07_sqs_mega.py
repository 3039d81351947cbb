"""The program of the sqs-mega README, with `mega.` replaced by `megaflow.`, and the Inventory that it leaves open.

It wants a queue of AWS's, or of a server that speaks like it: set AWS_ENDPOINT_URL to its address.
"""

from megaflow.aws.sqs.subscribe import EventSubscriber, ProcessStatus, SqsListener
from megaflow.event import Payload
from megaflow.match.functions import one_of, gt, not_, empty


class Inventory:
    @staticmethod
    def get_item(item_id: str) -> str:
        return f"item {item_id}"


class ShoppingCartItemAdded(EventSubscriber):
    domain = 'shopping_cart'
    name = 'item.added'
    version = one_of(1, 2)
    attributes = dict(
        item_id=not_(empty()),
        quantity=gt(0)
    )

    def process(self, payload: Payload) -> ProcessStatus:
        item_id = payload.event.item_id
        item = Inventory.get_item(item_id)
        print(f"added {payload.event.quantity} of {item}", flush=True)

        return ProcessStatus.DONE


class ShoppingCartItemRemoved(EventSubscriber):
    domain = 'shopping_cart'
    name = 'item.removed'

    def process(self, payload: Payload) -> ProcessStatus:
        return ProcessStatus.DONE


listener = SqsListener(
    aws_access_key_id='AKIAIOSFODNN7EXAMPLE',
    aws_secret_access_key='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    region_name='us-west-2',
    queue_url='https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test',
    max_number_of_messages=1,
    wait_time_seconds=20,
    visibility_timeout=30
)

listener.register_subscriber(ShoppingCartItemAdded)
listener.register_subscriber(ShoppingCartItemRemoved)

if __name__ == "__main__":
    listener.listen()
