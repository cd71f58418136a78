"""Files that are no YAML, or more of YAML than a unit file may be.

Each row: what is wrong, the file, and what `verify` says of it behind the path: a line, or all the lines.
"""

from __future__ import annotations

Case = tuple[str, str, str | tuple[str, ...]]
P = "schedule: periodical\nexec: [/bin/true]\nperiod: 5\n"

# fmt: off
YAML: list[Case] = [
    ("dots", P + "...\n...\n---\na: b\n", "6:1: a second document; write one unit in one file"),
    ("empty but for a comment", "# nothing\n", "1:1: schedule: is required; write daemon, periodical or fixed-time"),
    ("null", "null\n", "1:1: schedule: is required; write daemon, periodical or fixed-time"),
    ("a word", "hello\n", "1:1: is not a map of keys; write KEY: VALUE lines"),
    ("a list", "- schedule: daemon\n", "1:1: is not a map of keys; write KEY: VALUE lines"),
    ("key twice", P + "period: 6\n", "4:1: period: is given twice, first in line 3; remove one of them"),
    ("key twice in a map", P + "environment:\n  A: x\n  A: y\n", "6:3: environment: A is given twice, first in line 5; remove one of them"),
    ("alias", P + "timeout: *x\n", "4:10: timeout: the alias *x is not allowed; write the value out"),
    ("anchor", P + "timeout: &x 5m\n", "4:10: timeout: the anchor &x is not allowed; write the value out at each place"),
    ("tag", P + "timeout: !!str 5m\n", "4:10: timeout: the tag !!str is not allowed; write the plain value"),
    ("own tag", P + "timeout: !secret 5m\n", "4:10: timeout: the tag !secret is not allowed; write the plain value"),
    ("bare tag", P + "timeout: ! 5m\n", "4:10: timeout: the tag ! is not allowed; write the plain value"),
    ("bare tag of a list", P + "nodes: ! [a]\n", "4:8: nodes: the tag ! is not allowed; write the plain value"),
    ("merge key", P + "<<: {timeout: 5m}\n", "4:1: merge keys (<<) are not allowed; write the keys out"),
    ("two documents", P + "---\nschedule: daemon\n", "4:1: a second document; write one unit in one file"),
    ("text after the end", P + "...\nfoo: x\n", "5:1: text after the line ..., which ends the unit; remove that line"),
    ("tab as indentation", P + "limits:\n\tnofile: 3\n", "5:1: a tab cannot indent; use spaces"),
    ("tab deep in a map", P + "limits:\n  core: 0\n\tnofile: 3\n", "6:1: a tab cannot indent; use spaces"),
    ("double quote not closed", P + 'title: "abc\nnice: 3\n', "4:8: the quote that opens here is not closed; close it"),
    ("single quote not closed", P + "title: 'abc\n", "4:8: the quote that opens here is not closed; close it"),
    ("text after the quote", P + 'title: "a" b\n', "4:12: text after the closing quote; quote the whole value once, and double a quote within it"),
    ("backslash", P + 'title: "a\\d"\n', "4:10: a backslash within double quotes needs a meaning; write it twice, or use single quotes"),
    ("list not closed", P + "nodes: [a, b\ntitle: x\n", "4:8: the list that opens here lacks a comma or its ] (noticed in line 5); close it"),
    ("map not closed", P + "limits: {nofile: 3\n", "4:9: the map that opens here lacks a comma or its } (noticed in line 5); close it"),
    ("comma missing", P + 'nodes: ["a" "b"]\n', "4:8: the list that opens here lacks a comma or its ]; close it"),
    ("bracket that closes nothing", P + "nodes: ]\n", "4:8: a value is missing before ]; write it, or put the text in quotes"),
    ("two commas", P + "nodes: [a,,b]\n", "4:11: a value is missing before ,; write it, or put the text in quotes"),
    ("indented below a value", P + "  title: x\n", "4:8: a key cannot be indented below a value; begin every key of a map in the same column"),
    ("indented less", "  schedule: daemon\nexec: x\n", "2:1: is indented less than the lines above; begin every key of a map in the same column"),
    ("indented more within a map", P + "limits:\n  core: 0\n   nofile: 3\n", "6:10: a key cannot be indented below a value; begin every key of a map in the same column"),
    ("indented less within a map", P + "limits:\n  core: 0\n nofile: 3\n", "6:2: wrong indentation; begin every key of a map in the same column"),
    ("list below a scalar", P + "nodes: - a\n", "4:8: a list's item cannot stand here; write each '- ITEM' in a line of its own"),
    ("item of no key", P + "- a\n", "4:1: a list's item that belongs to no key; write it below its key, or remove it"),
    ("key in a list", P + "nodes:\n  - a\n  title: x\n", "6:3: a list ends here without its key's indentation; indent all items of a list alike"),
    ("two colons", P + "title: a: b\n", "4:9: a second ': ' in one line; put the value in quotes"),
    ("no colon", P + "title\n", "4:1: there is no ': ' after this key; write KEY: VALUE"),
    ("no colon before another key", "title\nschedule: daemon\n", "2:9: there is no ': ' after the key in the line above; write KEY: VALUE"),
    ("no blank after the colon", P + "timeout:5m\n", "4:1: there is no ': ' after this key; write KEY: VALUE"),
    ("empty key", P + ": x\n", "4:1: the key before ':' is empty; write KEY: VALUE"),
    ("list as a key", P + "? [a, b]\n: c\n", "4:3: a key must be a single text; write KEY: VALUE"),
    ("map as a key", P + "{a: b}: c\n", "4:1: a key must be a single text; write KEY: VALUE"),
    ("at sign", P + "title: @home\n", "4:8: a text cannot begin with @; put it in quotes"),
    ("backquote", P + "title: `id`\n", "4:8: a text cannot begin with `; put it in quotes"),
    ("percent", P + "title: %d\n", "4:8: a text cannot begin with %; put it in quotes"),
    ("star", P + "title: *\n", "4:9: a text cannot begin with * or &; put it in quotes"),
    ("directive", "%FOO bar\n---\nschedule: daemon\n", "1:5: a line cannot begin with %; put the text in quotes or remove the line"),
    ("text beside the bar", P + "description: |text\n  more\n", "4:15: only a line's end can follow | or >; write the text in the lines below, indented"),
    ("deep", P + "nodes: [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n", "4:15: nodes: is nested deeper than 8 levels; unit files are nearly flat"),
    ("very deep", P + "nodes: " + "[" * 100_000 + "\n", "4:15: nodes: is nested deeper than 8 levels; unit files are nearly flat"),
    ("NUL", P + "title: a\x00b\n", "4:9: U+0000 is a control character; remove it, or put a text file here"),
    ("escape character", P + "title: \x1b[31m\n", "4:8: U+001B is a control character; remove it, or put a text file here"),
    ("line end that nobody sees", P + "title: a\u2028b\n", "4:9: U+2028 is a control character; remove it, or put a text file here"),
]
# fmt: on
