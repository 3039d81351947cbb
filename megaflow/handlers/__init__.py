"""Handlers: the functions that users register, with what they take, need and answer."""
