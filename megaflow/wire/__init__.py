"""The wire: the calls of SQS that are made over and over, past boto3, whose client remains for everything else."""
