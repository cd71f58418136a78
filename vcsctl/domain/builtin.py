"""The names of the utilities that come with this version. Imports nothing, so that anybody may ask."""

UTILITIES = ("log-rotator", "cleaner", "notificator")
