"""The names of the utilities that come with this project. Imports nothing, so that anybody may ask."""

UTILITIES = ("log-rotator", "cleaner", "notificator")
