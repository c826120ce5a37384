"""What an auditor and a privacy officer ask for: a home held against its chain, a session's proof, who asked for them.

It reads what the layers below have written. Nothing below knows of it.
"""
