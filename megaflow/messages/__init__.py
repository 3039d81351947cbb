"""Messages: what travels through SQS and SNS, and how it is read and written."""
