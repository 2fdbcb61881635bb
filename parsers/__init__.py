"""What is read: log formats and message types. A new one is one new file; nothing is registered by hand."""
