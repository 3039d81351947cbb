"""Documents of what apps need, for tools that set it up: functions of a `Deployment`, a module for each format."""
