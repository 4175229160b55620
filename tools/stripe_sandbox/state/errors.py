"""What a refusal of Stripe's looks like."""

from typing import Any


class Refused(Exception):
    """A request is answered with an error of Stripe's shape.

    Args:
        message: What the caller reads.
        code: Stripe's short code, where there is one.
        param: The parameter at fault, written as `a[b]`.
        status: Of the answer.
        kind: Stripe's `type`.
        headers: To be sent with it.
        keeps_work: What was done before stays done, as when a payment is tried and declined.
        fields: More members of the error object.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        param: str = "",
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
        keeps_work: bool = False,
        fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status
        self.kind = kind
        self.headers = headers or {}
        self.keeps_work = keeps_work
        self.fields = fields or {}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        error: dict[str, Any] = {"message": str(self), "type": self.kind, **self.fields}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://docs.stripe.com/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return {"error": error}


def absent(param: str) -> Refused:
    """A parameter that must be given is not there."""
    return Refused(f"Missing required param: {param}.", code="parameter_missing", param=param)


def missing(kind: str, key: str, param: str = "id") -> Refused:
    """No object has that id. Stripe answers 404 for the id in the address, 400 for one in a parameter."""
    noun = kind.rsplit(".", maxsplit=1)[-1].replace("_", " ")
    return Refused(
        f"No such {noun}: '{key}'",
        code="resource_missing",
        param=param,
        status=404 if param == "id" else 400,
    )
