"""The command line: what a user could do through `App` and boto3, in a line. The extra ``cli``."""
