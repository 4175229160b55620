"""What a key has spent this month: `{% load spend %}`, `{% spend_of key as spend %}`."""

from django import template

from accounts.models import ApiKey
from billing.ledger import month_to_date

register = template.Library()


@register.simple_tag
def spend_of(key: ApiKey) -> month_to_date.MonthToDate:
    """The key's current month so far."""
    return month_to_date.of_key(key)
