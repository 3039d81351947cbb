"""What each operation of SQS and SNS asks and answers, in boto3's own words, as plain dicts."""
