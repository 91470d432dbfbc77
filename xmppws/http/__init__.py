"""The HTTP side: the WebSocket endpoint, its connections, host-meta, health and the console."""
