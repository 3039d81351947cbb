"""The wire: beside boto3, and against servers that do not behave."""
