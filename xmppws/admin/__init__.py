"""The admin socket: JSON lines on a Unix socket, by which the commands of the command line reach a running server."""
