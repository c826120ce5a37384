"""The digest: how the imports went, as a message once a week. It shows rows that are published, and counts nothing."""
