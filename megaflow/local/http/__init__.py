"""SQS and SNS as they are spoken over HTTP."""
