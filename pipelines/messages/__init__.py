"""What leaves as a message: text from outside made harmless, Slack-compatible webhooks, e-mail.

Nothing here knows what a message is about.
"""
