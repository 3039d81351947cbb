"""An app as an AWS Lambda function that SQS queues invoke, with partial batch answers.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from megaflow.awslambda.handler import LambdaHandler

__all__ = ["LambdaHandler"]
