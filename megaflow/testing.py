"""What tests of an app need: the app over an embedded queue, with time at their word."""
