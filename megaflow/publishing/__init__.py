"""Publishing: payloads on their way out, to queues and topics."""
