"""The shape of an expected refusal. Each app declares its own kinds; `ecohash/errors.py` renders them all."""

from collections.abc import Mapping


class Refusal(Exception):
    """A request that is answered with an error on purpose.

    A subclass fixes status, type and code; an instance may narrow `param`, the field that is at fault.
    `str(refusal)` is the text for people: it says what to do next, and never holds a key or a prompt.
    The four names are OpenAI's error object, so that its clients raise the right exception class.
    """

    status = 400
    type = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = {}
    text = ""

    def __init__(self, text: str | None = None, *, param: str | None = None) -> None:
        super().__init__(text or self.text)
        if param is not None:
            self.param = param

    def body(self) -> dict[str, dict[str, str | None]]:
        """The error object of the API, all four keys present."""
        return {
            "error": {
                "message": str(self),
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(Refusal):
    """A field is wrong; code and param say which and how."""

    def __init__(self, text: str, *, code: str, param: str) -> None:
        super().__init__(text, param=param)
        self.code = code
