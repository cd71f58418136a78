"""Floor 3: the commands. Each one parses, calls, renders; nothing below it prints or exits."""
