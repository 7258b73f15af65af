"""The message behind DATA (RFC 5321 section 4.1.1.4), taken as it comes: no IO, one buffer."""

from __future__ import annotations

__all__ = ["MessageData"]

LINE_END = b"\r\n"
END = b"\r\n.\r\n"


class MessageData:
    """Collects one message. Of one that is too large nothing is kept, but its end is found."""

    def __init__(self, *, most: int, longest_line: int) -> None:
        """`most` bytes; `longest_line` counts neither a dot in front nor the line end."""
        self._most = most
        self._longest = longest_line + len(b".") + len(LINE_END)
        self._data = bytearray(LINE_END)  # a dot on the first line is the end, too
        self.too_large = False

    def feed(self, data: bytes) -> bytes | None:
        """None: more has to come. Else the message is complete, and this is what came behind it."""
        start = max(0, len(self._data) - len(END) + 1)
        self._data += data
        end = self._data.find(END, start)
        if end >= 0:
            rest = bytes(self._data[end + len(END) :])
            del self._data[end + len(LINE_END) :]
        self.too_large |= len(self._data) - len(LINE_END) > self._most
        if end >= 0:
            return rest
        if self.too_large:
            del self._data[: -len(END)]
        return None

    @property
    def too_long(self) -> bool:
        """True when one of the lines is. Looks at one place in each `longest_line` bytes, and not at each byte."""
        at = len(LINE_END)
        while at < len(self._data):
            line_end = self._data.rfind(b"\n", at, at + self._longest)
            if line_end < 0:
                return True
            at = line_end + 1
        return False

    def take(self) -> bytes:
        """The message without the dots that were put in front of others; nothing is left here."""
        if LINE_END + b"." in self._data:
            self._data = self._data.replace(LINE_END + b".", LINE_END)
        del self._data[: len(LINE_END)]
        content = bytes(self._data)
        self._data.clear()
        return content
