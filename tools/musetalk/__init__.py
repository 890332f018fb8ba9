"""Bundles of MuseTalk's networks: what is in one, how it is written, and the numbers it is tested with."""
