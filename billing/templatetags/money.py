"""Amounts as templates print them: `{% load money %}`, `{{ micros|dollars }}`, `{{ amount|cents }}`."""

from django import template

from billing import amounts

register = template.Library()
register.filter("dollars", amounts.dollars)
register.filter("cents", amounts.dollars_of_cents)
