"""What can go wrong at Stripe, in the four kinds that call for different answers."""


class GatewayError(Exception):
    """Stripe did not do what it was asked to; the text is fit for staff and logs."""


class StripeAway(GatewayError):
    """No answer, a fault of Stripe's or too many calls: the same again later. `status` is HTTP's, 0 without an answer."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class StripeRefused(GatewayError):
    """Stripe understood and said no. `status` is HTTP's and `code` Stripe's, where it gave one."""

    def __init__(self, text: str, *, status: int, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for does not exist there."""
        return self.status == 404 or self.code == "resource_missing"  # noqa: PLR2004 - HTTP's


class KeyOfAnotherRequest(StripeRefused):
    """The idempotency key was used before, with other parameters. Nothing was done."""


class StripeKeyRefused(GatewayError):
    """The key itself is wrong, revoked or not allowed to do this; only staff can correct that."""


class CallInsideTransaction(RuntimeError):
    """A mistake of ours: a network call would have kept rows locked for as long as Stripe likes."""
