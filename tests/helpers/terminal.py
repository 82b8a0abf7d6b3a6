"""A terminal that remembers what it was sent."""

import io


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """What its reader sees: a carriage return goes to the start of the line."""
        rows = []
        for text in self.getvalue().split("\n"):
            row = []
            for part in text.split("\r"):
                row[: len(part)] = part
            rows.append("".join(row).rstrip())
        return rows
