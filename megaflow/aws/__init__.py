"""The import paths of the sqs-mega README: put ``megaflow.`` where it says ``mega.``.

That README gives ``region_name='us-west-2'`` for a queue and a topic in us-east-2: here, and here only, a region that
was given gives way to the one of the address, with a warning.
"""
