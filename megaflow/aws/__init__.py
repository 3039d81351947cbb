"""The import paths of the sqs-mega README: put ``megaflow.`` where it says ``mega.``."""
