"""The chain: an append-only manifest of raw, in which each line holds the digest of the line before it.

Here are its format and its writing. It knows a home and its files, and nothing of what the files mean. What looks a
home over against its chain is in `pipelines.evidence`. The format is described in docs/evidence.md.
"""
