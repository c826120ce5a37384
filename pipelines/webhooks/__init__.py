"""The vendor's push: a receiver that journals events, and what turns its journal into raw."""
