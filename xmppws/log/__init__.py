"""Where log lines go: standard error, the file of the newest errors, the audit log."""
