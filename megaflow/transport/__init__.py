"""Transport: SQS and SNS in boto3's words."""
