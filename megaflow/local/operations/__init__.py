"""Operations of SQS and SNS, as boto3 names them: parameters and answers are plain dicts."""
