"""The protocols of one stream as state machines without input or output: bytes and answers in, events and bytes out."""
