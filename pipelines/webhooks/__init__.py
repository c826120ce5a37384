"""The vendor's push: a receiver that journals events, and the ingest that turns its journal into raw."""
