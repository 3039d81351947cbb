"""The doctor: what is wrong with an app as it stands in AWS, what that costs, and what to do. It changes nothing."""
