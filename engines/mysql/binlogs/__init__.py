"""Binary logs: read and verified without a server, proven to be a chain, explored, cut at a transaction, fetched.

Replaying them is done elsewhere.
"""
